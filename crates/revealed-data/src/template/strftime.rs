//! `strftime_now`: Python's `datetime.strftime` in the C locale, without a time zone.

use std::iter::Peekable;
use std::str::Chars;

use minijinja::Error;

use super::value::invalid;

/// Letters of a format.
const LONGEST_FORMAT: usize = 1000;
/// Digits of a width.
const WIDEST: usize = 100;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A moment, in the fields of C's `tm`.
struct Moment {
    seconds: u64,
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    /// Days since Sunday.
    weekday: u64,
    /// Days since the first of January.
    yearday: u64,
}

/// Writes the moment `seconds` after 1970 in UTC.
pub(super) fn strftime(format: &str, seconds: u64) -> Result<String, Error> {
    if format.len() > LONGEST_FORMAT {
        return Err(invalid(format!("strftime_now takes {LONGEST_FORMAT} letters at most")));
    }
    let moment = Moment::new(seconds);
    let mut out = String::new();
    let mut characters = format.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '%' {
            out.push_str(&directive(&moment, &mut characters)?);
        } else {
            out.push(character);
        }
    }
    Ok(out)
}

/// One directive behind its `%`: the flags and the width of the GNU C library, and a letter.
fn directive(moment: &Moment, characters: &mut Peekable<Chars>) -> Result<String, Error> {
    let (mut padding, mut upper, mut swap) = (None, false, false);
    while let Some(flag) = characters.next_if(|c| matches!(c, '-' | '_' | '0' | '^' | '#')) {
        match flag {
            '^' => upper = true,
            '#' => swap = true,
            _ => padding = Some(flag),
        }
    }
    let mut width = String::new();
    while let Some(digit) = characters.next_if(char::is_ascii_digit) {
        width.push(digit);
    }
    let letter = characters.next();
    let unknown = || {
        let letter = letter.map(String::from).unwrap_or_default();
        invalid(format!("strftime_now does not know %{letter}"))
    };
    let letter = letter.ok_or_else(unknown)?;
    let wanted = match width.parse::<usize>() {
        Ok(wanted) if wanted <= WIDEST => wanted,
        Ok(_) => return Err(invalid("a width of strftime_now is too large")),
        Err(_) => 0,
    };
    if let Some((number, digits, usual)) = moment.number(letter) {
        let fill = match padding.unwrap_or(usual) {
            '-' => return Ok(format!("{number:0>wanted$}")),
            '_' => ' ',
            _ => '0',
        };
        let missing = digits.max(wanted).saturating_sub(number.to_string().len());
        return Ok(format!("{}{number}", fill.to_string().repeat(missing)));
    }
    let mut text = moment.text(letter)?.ok_or_else(unknown)?;
    if swap && letter == 'p' {
        text = text.to_lowercase();
    } else if upper || (swap && matches!(letter, 'a' | 'A' | 'b' | 'B' | 'h')) {
        text = text.to_uppercase();
    }
    let fill = if padding == Some('0') { '0' } else { ' ' };
    let missing = wanted.saturating_sub(text.chars().count());
    Ok(fill.to_string().repeat(missing) + &text)
}

impl Moment {
    fn new(seconds: u64) -> Self {
        let (days, clock) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let at = usize::try_from(month - 1).unwrap_or(0);
        Self {
            seconds,
            year,
            month,
            day,
            hour: clock / 3600,
            minute: clock / 60 % 60,
            second: clock % 60,
            // 1970-01-01 was a Thursday.
            weekday: (days + 4) % 7,
            yearday: before[at] + day - 1 + u64::from(leap && month > 2),
        }
    }

    /// A number, its usual digits and its usual padding.
    fn number(&self, letter: char) -> Option<(u64, usize, char)> {
        let hour = (self.hour + 11) % 12 + 1;
        Some(match letter {
            'Y' => (self.year, 4, '0'),
            'C' => (self.year / 100, 2, '0'),
            'y' => (self.year % 100, 2, '0'),
            'm' => (self.month, 2, '0'),
            'd' => (self.day, 2, '0'),
            'e' => (self.day, 2, '_'),
            'j' => (self.yearday + 1, 3, '0'),
            'H' => (self.hour, 2, '0'),
            'k' => (self.hour, 2, '_'),
            'I' => (hour, 2, '0'),
            'l' => (hour, 2, '_'),
            'M' => (self.minute, 2, '0'),
            'S' => (self.second, 2, '0'),
            'w' => (self.weekday, 1, '0'),
            'u' => ((self.weekday + 6) % 7 + 1, 1, '0'),
            'U' => ((self.yearday + 7 - self.weekday) / 7, 2, '0'),
            'W' => ((self.yearday + 7 - (self.weekday + 6) % 7) / 7, 2, '0'),
            'V' => (self.iso().1, 2, '0'),
            'G' => (self.iso().0, 4, '0'),
            'g' => (self.iso().0 % 100, 2, '0'),
            's' => (self.seconds, 1, '0'),
            _ => return None,
        })
    }

    fn text(&self, letter: char) -> Result<Option<String>, Error> {
        let month = MONTHS[usize::try_from(self.month - 1).unwrap_or(0)];
        let day = DAYS[usize::try_from(self.weekday).unwrap_or(0)];
        let several = |format: &str| strftime(format, self.seconds);
        Ok(Some(match letter {
            'B' => month.to_owned(),
            'b' | 'h' => month[..3].to_owned(),
            'A' => day.to_owned(),
            'a' => day[..3].to_owned(),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.to_owned(),
            'P' => if self.hour < 12 { "am" } else { "pm" }.to_owned(),
            'f' => "000000".to_owned(),
            // Python's time of `datetime.now()` has no zone.
            'Z' | 'z' => String::new(),
            'F' => several("%Y-%m-%d")?,
            'T' | 'X' => several("%H:%M:%S")?,
            'R' => several("%H:%M")?,
            'r' => several("%I:%M:%S %p")?,
            'D' | 'x' => several("%m/%d/%y")?,
            'c' => several("%a %b %e %H:%M:%S %Y")?,
            'n' => "\n".to_owned(),
            't' => "\t".to_owned(),
            '%' => "%".to_owned(),
            _ => return Ok(None),
        }))
    }

    /// The year and week of ISO 8601, whose weeks begin on Monday.
    fn iso(&self) -> (u64, u64) {
        let weekday = (self.weekday + 6) % 7;
        // The week belongs to the year of its Thursday.
        let thursday = self.seconds / 86_400 + 3 - weekday;
        let (year, ..) = civil(thursday);
        let first = Moment::new(thursday * 86_400).yearday;
        (year, first / 7 + 1)
    }
}

/// Year, month and day of a day since 1970 (Gregorian; `civil_from_days` of
/// <https://howardhinnant.github.io/date_algorithms.html>).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_python() {
        // python: datetime.fromtimestamp(1709210096, UTC).replace(tzinfo=None).strftime(..)
        let text = strftime("%a %A %d %b %B %Y %y %H:%M:%S %I %p %%", 1_709_210_096).unwrap();
        assert_eq!(text, "Thu Thursday 29 Feb February 2024 24 12:34:56 12 PM %");
        assert_eq!(strftime("%F", 0).unwrap(), "1970-01-01");
        assert_eq!(strftime("%F %T", 4_102_444_799).unwrap(), "2099-12-31 23:59:59");
        assert!(strftime("%q", 0).is_err() && strftime("%", 0).is_err());
    }
}
