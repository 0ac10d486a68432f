//! Parsers for values on the command line: times, speeds, prefixes, chains.

use std::path::PathBuf;
use std::time::Duration;

use netssm_fidelity::analyses::memorise::identifiers::may_be_allowed;
use netssm_replay::clock::WallTime;
use netssm_replay::pace::Speed;
use toml::value::Datetime;

/// Default time of the first packet of a generated capture. It is fixed, so that the same seed gives the same bytes. It
/// is recent, so that no tool takes it for a broken clock.
pub(crate) const EPOCH: &str = "2026-01-01T00:00:00Z";

/// When a capture begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the time when the command runs.
    Now,
    /// At this time.
    At(WallTime),
}

/// Parses a number with a unit: 30s, 1.5m, 8h, 2d, 200ms. Without a unit it is in seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(format!("unknown unit \"{unit}\"; expected ms, s, m, h or d, as in 30s")),
    };
    let number: f64 = number.parse().map_err(|_| "expected a number and a unit, as in 30s".to_owned())?;
    Duration::try_from_secs_f64(number * factor).map_err(|error| error.to_string())
}

/// Checks an address, prefix, MAC address, name or name end.
pub(crate) fn identifier(text: &str) -> Result<String, String> {
    if may_be_allowed(text) {
        return Ok(text.to_owned());
    }
    Err("expected an address, a prefix such as 10.0.0.0/8, a MAC address, a name, or the end of one such as .example.org".into())
}

/// Parses an RFC 3339 time with an offset, seconds since 1970, or "now".
pub(crate) fn wall_time(text: &str) -> Result<Start, String> {
    let wrong = || "expected a time such as 2026-01-01T00:00:00Z, seconds since 1970, or now".to_owned();
    if text == "now" {
        return Ok(Start::Now);
    }
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Start::At(WallTime::from_secs(seconds.into())));
    }
    let Datetime { date: Some(date), time: Some(time), offset: Some(offset) } =
        text.parse::<Datetime>().map_err(|_| wrong())?
    else {
        return Err(wrong());
    };
    let minutes = match offset {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_from_civil(date.year.into(), date.month.into(), date.day.into());
    let clock =
        i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0));
    let seconds = days * 86_400 + clock - minutes * 60;
    let at = WallTime::from_secs(seconds) + Duration::from_nanos(time.nanosecond.unwrap_or(0).into());
    // The range of a pcap's 32-bit seconds.
    if seconds < 0 || seconds > i64::from(u32::MAX) {
        return Err(format!("{text} cannot be written in a capture; expected a time between 1970 and 2106"));
    }
    Ok(Start::At(at))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Its years begin in March, so that leap days come last. It
/// is the inverse of what `WallTime` does to print.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Parses "top" or a factor.
pub(crate) fn speed(text: &str) -> Result<Speed, String> {
    if text == "top" {
        return Ok(Speed::Top);
    }
    let factor: f64 = text.parse().map_err(|_| "expected a factor such as 1.0, or top".to_owned())?;
    Speed::factor(factor).map_err(|error| error.to_string())
}

/// One link of `--chain`: a checkpoint and the packets that it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Checkpoint directory, or "builtin".
    pub checkpoint: PathBuf,
    /// Packets that this model writes before the next one takes over.
    pub packets: u64,
}

/// Parses `DIR=packets`.
pub(crate) fn link(text: &str) -> Result<Link, String> {
    let wrong = || "expected DIR=PACKETS, as in handshake=6".to_owned();
    let (dir, packets) = text.rsplit_once('=').ok_or_else(wrong)?;
    match packets.parse() {
        Ok(packets) if packets > 0 && !dir.is_empty() => Ok(Link { checkpoint: dir.into(), packets }),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in
            [("30s", 30.0), ("1.5m", 90.0), ("8h", 28_800.0), ("2d", 172_800.0), ("200ms", 0.2), ("7", 7.0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "s", "3 s", "-3s", "3y", "1e9d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_rfc_3339_seconds_or_now() {
        // The expected seconds are from `date -u -d ... +%s`.
        for (text, seconds) in [
            (EPOCH, 1_767_225_600),
            ("2024-02-29T12:34:56Z", 1_709_210_096),
            ("2024-02-29T14:34:56+02:00", 1_709_210_096),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("1970-01-01T00:00:00Z", 0),
            ("1767225600", 1_767_225_600),
        ] {
            assert_eq!(wall_time(text), Ok(Start::At(WallTime::from_secs(seconds))), "{text}");
        }
        assert_eq!(wall_time("2026-01-01T00:00:00.5Z"), Ok(Start::At(WallTime(1_767_225_600_500_000_000))));
        assert_eq!(wall_time("now"), Ok(Start::Now));
        for text in ["2026-01-01", "2026-01-01T00:00:00", "tomorrow", "1969-12-31T23:59:59Z", "-5"] {
            assert!(wall_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn our_calendar_agrees_with_the_printed_one() {
        for days in (0..40_000).step_by(13) {
            let at = WallTime::from_secs(days * 86_400);
            let text = at.compact_utc();
            let rfc = format!("{}-{}-{}T00:00:00Z", &text[..4], &text[4..6], &text[6..8]);
            assert_eq!(wall_time(&rfc), Ok(Start::At(at)), "{rfc}");
        }
    }

    #[test]
    fn chains_name_a_directory_and_packets() {
        assert_eq!(link("a=b/c=6"), Ok(Link { checkpoint: "a=b/c".into(), packets: 6 }));
        for text in ["a", "a=", "=3", "a=0", "a=-1"] {
            assert!(link(text).is_err(), "{text}");
        }
    }

    #[test]
    fn speeds_are_top_or_a_factor() {
        assert_eq!(speed("top"), Ok(Speed::Top));
        assert!(matches!(speed("2.5"), Ok(Speed::Factor(f)) if f.get() == 2.5));
        assert!(speed("0").is_err() && speed("fast").is_err() && speed("nan").is_err());
    }
}
