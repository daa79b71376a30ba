//! Sizes, durations and times as people read them.

use jiff::Timestamp;

/// Bytes: two or three digits of them, in powers of 1000.
pub(super) fn bytes(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut unit, mut name) = (1000, "kB");
    for larger in ["MB", "GB", "TB"] {
        if rounded(bytes, unit) < 1000 {
            break;
        }
        (unit, name) = (unit * 1000, larger);
    }
    match rounded(bytes, unit / 10) {
        tenths @ ..100 => format!("{}.{} {name}", tenths / 10, tenths % 10),
        _ => format!("{} {name}", rounded(bytes, unit)),
    }
}

/// How many of `unit`, to the nearest.
fn rounded(bytes: u64, unit: u64) -> u64 {
    bytes / unit + u64::from(bytes % unit >= unit.div_ceil(2))
}

/// A time that something took, in seconds; `assets/times.js` says it in whole seconds.
pub(super) fn duration(seconds: f64) -> String {
    let whole = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let (minutes, rest) = (whole / 60, whole % 60);
    match (minutes / 60, minutes, whole) {
        (0, 0, ..10) => format!("{seconds:.1} s"),
        (0, 0, _) => format!("{whole} s"),
        (0, _, _) => format!("{minutes} min {rest} s"),
        (hours, _, _) => format!("{hours} h {} min", minutes % 60),
    }
}

/// A time in the format of RFC 3339, as HTML: with JavaScript, it is told how long ago
/// that was.
pub(super) fn time(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => {
            let told = time.strftime("%-d %b %Y, %H:%M UTC");
            format!("<time datetime=\"{time}\">{told}</time>")
        }
        // It is the server's own.
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (size, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1450, "1.5 kB"),
            (9949, "9.9 kB"),
            (9950, "10 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (4_867_000, "4.9 MB"),
            (12_400_000, "12 MB"),
            (308_000_000, "308 MB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn durations_are_readable() {
        for (seconds, text) in [
            (0.0, "0.0 s"),
            (9.94, "9.9 s"),
            (10.0, "10 s"),
            (59.9, "59 s"),
            (60.0, "1 min 0 s"),
            (3599.0, "59 min 59 s"),
            (3660.0, "1 h 1 min"),
            (90_000.0, "25 h 0 min"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn times_are_readable_without_javascript() {
        assert_eq!(
            time("2026-11-08T09:05:07Z"),
            "<time datetime=\"2026-11-08T09:05:07Z\">8 Nov 2026, 09:05 UTC</time>"
        );
        assert_eq!(time("<b>"), "");
    }
}
