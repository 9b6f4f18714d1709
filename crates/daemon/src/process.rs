//! What the process costs, as Prometheus client libraries name it.

use prometheus_client::registry::Registry;

/// Registers `process_resident_memory_bytes`, `process_cpu_seconds_total`, `process_open_fds` and `process_start_time_seconds`.
///
/// They are read from `/proc/self` at each scrape; one that cannot be read is left out of it. On systems other than Linux nothing is
/// registered. The names are the usual ones only in a registry without a prefix.
pub fn register_process_metrics(registry: &mut Registry) {
    #[cfg(target_os = "linux")]
    registry.register_collector(Box::new(linux::Process));
    #[cfg(not(target_os = "linux"))]
    let _ = registry;
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{fmt, fs};

    use prometheus_client::{
        collector::Collector,
        encoding::{DescriptorEncoder, EncodeMetric},
        metrics::{counter::ConstCounter, gauge::ConstGauge},
        registry::Unit,
    };
    use rustix::param::{clock_ticks_per_second, page_size};

    #[derive(Debug)]
    pub(super) struct Process;

    impl Collector for Process {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            let mut write = |name, help, unit: Option<Unit>, metric: &dyn EncodeMetric| {
                metric.encode(encoder.encode_descriptor(name, help, unit.as_ref(), metric.metric_type())?)
            };
            if let Some(stat) = read("/proc/self/stat", Stat::parse) {
                let ticks = clock_ticks_per_second() as f64;
                let resident = ConstGauge::new(stat.resident_pages.saturating_mul(page_size() as u64));
                write("process_resident_memory", "Resident memory.", Some(Unit::Bytes), &resident)?;
                let cpu = ConstCounter::new(stat.cpu_ticks as f64 / ticks);
                write("process_cpu", "Processor time used, user and system.", Some(Unit::Seconds), &cpu)?;
                if let Some(boot) = read("/proc/stat", boot_second) {
                    let start = ConstGauge::new(boot as f64 + stat.start_ticks as f64 / ticks);
                    write("process_start_time", "Start of the process, since 1970 UTC.", Some(Unit::Seconds), &start)?;
                }
            }
            if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
                // One of them is the directory being read.
                let open = ConstGauge::new(descriptors.count().saturating_sub(1));
                write("process_open_fds", "Open file descriptors.", None, &open)?;
            }
            Ok(())
        }
    }

    fn read<T>(path: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        fs::read_to_string(path).ok().and_then(|text| parse(&text))
    }

    /// Fields of `/proc/PID/stat`, numbered in proc_pid_stat(5).
    #[derive(Debug, PartialEq)]
    struct Stat {
        cpu_ticks: u64,
        start_ticks: u64,
        resident_pages: u64,
    }

    impl Stat {
        fn parse(text: &str) -> Option<Self> {
            // The name (field 2) stands in parentheses and may hold spaces and parentheses itself.
            let (_, rest) = text.rsplit_once(") ")?;
            let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
            let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
            Some(Self {
                cpu_ticks: field(14)?.saturating_add(field(15)?),
                start_ticks: field(22)?,
                resident_pages: field(24)?,
            })
        }
    }

    /// The second since 1970 at which the machine started, from `/proc/stat`.
    fn boot_second(text: &str) -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn stat_is_read_past_any_process_name() {
            let tail = "S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 4 0 987654 123456789 321 18446744073709551615 1";
            let expected = Stat { cpu_ticks: 300, start_ticks: 987_654, resident_pages: 321 };
            for name in ["tracker", "a b", "evil) R 1 (", ") "] {
                assert_eq!(Stat::parse(&format!("77 ({name}) {tail}")).as_ref(), Some(&expected), "{name}");
            }
            for broken in
                ["", "77 (tracker", "77 (tracker) S 1 2", "77 (tracker) S 1 2 3 4 5 6 7 8 9 10 x 50 0 0 20 0 4 0 1 2 3"]
            {
                assert_eq!(Stat::parse(broken), None, "{broken}");
            }
        }

        #[test]
        fn boot_second_is_the_btime_line() {
            assert_eq!(boot_second("cpu  1 2 3\nintr 9\nbtime 1769200000\nprocesses 5\n"), Some(1_769_200_000));
            assert_eq!(boot_second("cpu  1 2 3\nbtime soon\n"), None);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use prometheus_client::encoding::text;

    use super::*;

    #[test]
    fn this_process_is_measured_and_the_metric_names_are_these() {
        let mut registry = Registry::default();
        register_process_metrics(&mut registry);
        let mut body = String::new();
        text::encode(&mut body, &registry).unwrap();

        let samples: Vec<(&str, f64)> = (body.lines().filter(|line| !line.starts_with('#')))
            .map(|line| line.split_once(' ').unwrap())
            .map(|(name, value)| (name, value.parse().unwrap()))
            .collect();
        let names: Vec<&str> = samples.iter().map(|(name, _)| *name).collect();
        let expected = [
            "process_resident_memory_bytes",
            "process_cpu_seconds_total",
            "process_start_time_seconds",
            "process_open_fds",
        ];
        assert_eq!(names, expected, "{body}");

        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let [resident, cpu, start, open] = [0, 1, 2, 3].map(|i| samples[i].1);
        assert!((1e5..1e11).contains(&resident), "{resident}");
        assert!((0.0..1e5).contains(&cpu), "{cpu}");
        assert!((now - 3600.0..now + 60.0).contains(&start), "{start}, now {now}");
        assert!((3.0..1e5).contains(&open), "{open}");
    }
}
