//! What a schedule's expressions may look like, as far as the API server can tell. Nothing that the operator understands is refused.

use kube::core::Rule;

/// What a rule is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    /// One expression.
    One,
    /// Each of a list.
    Each,
}

const STEP: &str = "0*[1-9][0-9]*";
const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
/// In the order in which a range goes up. Sunday is the first day of a range or its last.
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A nickname, or five fields.
pub(super) fn shape(of: Of) -> Rule {
    let pattern = r"^\s*(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|[^@\s]\S*(\s+\S+){4})\s*$";
    let message = "a schedule is five fields (minute 0-59, hour 0-23, day of the month, month, day of the week), such as 30 2 * * 1-5, or one of @hourly, @daily, @weekly, @monthly, @yearly; instead of @every 5m write */5 * * * *";
    rule(of, |text| matches(text, pattern), message)
}

/// The first field.
pub(super) fn minute(of: Of) -> Rule {
    let message =
        "the first field is the minute, 0-59, such as 30, 0,30 or */5; a step follows * or a range, such as 10-50/20";
    field(of, 0, &steps_and(&range("0*[1-5]?[0-9]"), r"\*"), message)
}

/// The second field.
pub(super) fn hour(of: Of) -> Rule {
    let message =
        "the second field is the hour, 0-23, such as 2, 8-18 or */6; a step follows * or a range, such as 8-18/2";
    field(of, 1, &steps_and(&range("0*(1?[0-9]|2[0-3])"), r"\*"), message)
}

/// The third field.
pub(super) fn day(of: Of) -> Rule {
    let number = "0*([1-9]|[12][0-9]|3[01])";
    let message = "the third field is the day of the month, 1-31, such as 1,15, */2, L for the last one, or 15W for the day from Monday to Friday that is next to the 15th";
    field(of, 2, &steps_and(&format!("{}|LW?|{number}W", range(number)), "[*?]"), message)
}

/// The fourth field.
pub(super) fn month(of: Of) -> Rule {
    let number = format!("0*([1-9]|1[0-2])|{}", MONTHS.join("|"));
    let message = "the fourth field is the month, 1-12 or JAN-DEC, such as */3 or MAR-OCT";
    field(of, 3, &steps_and(&range(&number), r"\*"), message)
}

/// The fifth field.
pub(super) fn weekday(of: Of) -> Rule {
    let number = format!("0*[0-7]|{}", WEEKDAYS.join("|"));
    let numbers = range(&number);
    let nth = format!(r"(({numbers})|[*?]/{STEP})(#(0*[1-5]|L))?|({number})?L");
    let message = "the fifth field is the day of the week, 0-7 or SUN-SAT, such as 1-5, MON,FRI, MON#2 for the second Monday, or FRI#L for the last Friday; 0 and 7 are Sunday";
    field(of, 4, &format!(r"\+?({})", steps_and(&nth, "[*?]")), message)
}

/// No range goes down.
pub(super) fn range_goes_up(of: Of) -> Rule {
    let down = |names: &[&str]| {
        let after = |(index, name): (usize, &&str)| format!("{name}-({})", names[..index].join("|"));
        names.iter().enumerate().skip(1).map(after).collect::<Vec<_>>().join("|")
    };
    // A range may end with Sunday.
    let names = format!("(?i)({}|{})", down(&MONTHS), down(&WEEKDAYS[1..]));
    let goes_up = "int(r.split('-')[0]) <= int(r.split('-')[1])";
    let check = |text: &str| {
        format!("{text}.findAll('[0-9]{{1,9}}-[0-9]{{1,9}}').all(r, {goes_up}) && !{}", matches(text, &names))
    };
    rule(of, check, "a range goes up: instead of 22-2 write 22-23,0-2, and instead of FRI-MON write FRI-SUN,MON")
}

/// Numbers of that pattern, alone or as a range with or without a step.
fn range(number: &str) -> String {
    format!("({number})(-({number})(/{STEP})?)?")
}

/// All, or a list of such parts and of steps from all. Some commas too many do no harm.
fn steps_and(part: &str, all: &str) -> String {
    format!("{all}|,*({part}|{all}/{STEP})(,+({part}|{all}/{STEP}))*,*")
}

/// The field after so many others is as `pattern` says, whatever the case. Of what has not five fields, [`shape`] says so.
fn field(of: Of, before: usize, pattern: &str, message: &str) -> Rule {
    let after = 4_usize.saturating_sub(before);
    let not_five = r"@.*|\S+(\s+\S+){0,3}|\S+(\s+\S+){5,}";
    let pattern = format!(r"(?i)^\s*({not_five}|(\S+\s+){{{before}}}({pattern})(\s+\S+){{{after}}})\s*$");
    rule(of, |text| matches(text, &pattern), message)
}

fn matches(text: &str, pattern: &str) -> String {
    format!("{text}.matches('{}')", pattern.replace('\\', r"\\"))
}

/// A rule by a check of one expression. What names a zone breaks a rule of its own.
fn rule(of: Of, check: impl Fn(&str) -> String, message: &str) -> Rule {
    let rule = match of {
        Of::One => format!("self.contains('TZ=') || ({})", check("self")),
        Of::Each => format!("self.all(s, s.contains('TZ=') || ({}))", check("s")),
    };
    Rule::new(rule).message(message)
}

#[cfg(test)]
mod tests;
