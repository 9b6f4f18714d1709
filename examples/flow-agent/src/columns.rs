//! Text in columns, and numbers that fit into them.

use std::io::{self, Write};

/// The first so many rows decide how wide columns are: with them a table of any length takes little memory.
const SAMPLE: usize = 1000;

/// What a column is called, and on which side its text is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    Left(&'static str),
    Right(&'static str),
}

/// Writes rows with aligned columns. The last column is not filled up.
#[derive(Debug)]
pub(crate) struct Columns<const N: usize, W> {
    columns: [Column; N],
    widths: Option<[usize; N]>,
    waiting: Vec<[String; N]>,
    out: W,
}

impl<const N: usize, W: Write> Columns<N, W> {
    pub(crate) const fn new(columns: [Column; N], out: W) -> Self {
        Self { columns, widths: None, waiting: Vec::new(), out }
    }

    pub(crate) fn row(&mut self, cells: [String; N]) -> io::Result<()> {
        if let Some(widths) = &self.widths {
            return write(&mut self.out, &self.columns, widths, &cells);
        }
        self.waiting.push(cells);
        if self.waiting.len() == SAMPLE { self.settle() } else { Ok(()) }
    }

    /// Whether there was no row.
    pub(crate) const fn is_empty(&self) -> bool {
        self.widths.is_none() && self.waiting.is_empty()
    }

    /// Writes what waits. Gives back what was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        if !self.waiting.is_empty() {
            self.settle()?;
        }
        Ok(self.out)
    }

    fn settle(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        let names = self.columns.map(|column| match column {
            Column::Left(name) | Column::Right(name) => name.to_owned(),
        });
        let all = || std::iter::once(&names).chain(&rows);
        let widths = std::array::from_fn(|i| all().map(|cells| cells[i].chars().count()).max().unwrap_or_default());
        for cells in all() {
            write(&mut self.out, &self.columns, &widths, cells)?;
        }
        self.widths = Some(widths);
        Ok(())
    }
}

fn write<const N: usize>(
    out: &mut impl Write,
    columns: &[Column; N],
    widths: &[usize; N],
    cells: &[String; N],
) -> io::Result<()> {
    let mut line = String::new();
    for ((column, width), cell) in columns.iter().zip(widths).zip(cells) {
        let cell = match column {
            Column::Left(_) => format!("{cell:width$}  "),
            Column::Right(_) => format!("{cell:>width$}  "),
        };
        line.push_str(&cell);
    }
    writeln!(out, "{}", line.trim_end())
}

/// A number of three digits or so, with a decimal prefix: `1.23 M`, and then the unit.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn quantity(number: u64, unit: &str) -> String {
    const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    if number < 1000 {
        return format!("{number} {unit}").trim_end().to_owned();
    }
    let (mut rest, mut prefix) = (number as f64, 0);
    // What would be shown as 1000 gets the next prefix.
    while rest >= 999.5 && prefix + 1 < PREFIXES.len() {
        (rest, prefix) = (rest / 1000.0, prefix + 1);
    }
    let digits = if rest < 9.995 { 2 } else { usize::from(rest < 99.95) };
    format!("{rest:.digits$} {}{unit}", PREFIXES[prefix])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table = Columns::new([Column::Left("NAME"), Column::Right("N"), Column::Left("")], Vec::new());
        for (name, number) in [("a", "1"), ("longer", "1000")] {
            table.row([name.to_owned(), number.to_owned(), String::new()]).unwrap();
        }
        let text = String::from_utf8(table.finish().unwrap()).unwrap();
        assert_eq!(text, "NAME       N\na          1\nlonger  1000\n");
        let empty = Columns::new([Column::Left("NAME")], Vec::new());
        assert!(empty.is_empty() && empty.finish().unwrap().is_empty());
    }

    #[test]
    fn rows_after_the_sample_are_not_kept() {
        let mut table = Columns::new([Column::Right("N")], io::sink());
        (0..3 * SAMPLE).for_each(|n| table.row([n.to_string()]).unwrap());
        assert!(table.waiting.capacity() == 0);
    }

    #[test]
    fn quantities_have_three_digits() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (9_996, "10.0 kB"),
            (999_400, "999 kB"),
            (999_600, "1.00 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(quantity(number, "B"), text);
        }
        assert_eq!((quantity(7, ""), quantity(70_000, "")), ("7".to_owned(), "70.0 k".to_owned()));
    }
}
