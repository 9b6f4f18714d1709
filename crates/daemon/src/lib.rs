//! What every daemon needs once: logs, metrics, health, drain.
