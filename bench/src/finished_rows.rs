//! The rows about finished tasks.

use crate::attempts::Attempts;
use crate::finished::{Beside, Held};
use crate::row::{Row, p50, times};
use crate::stats::{bytes, middle_and_worst, time};

/// The number of finished tasks to which the targets apply.
const MANY_FINISHED: usize = 100_000;

pub fn held(held: &Held) -> Vec<Row> {
    let &Held { finished, waiting, size, without, with, peak, unfinished, listed } = held;
    let judged = |met: bool| (finished >= MANY_FINISHED).then_some(met);
    let each = with.saturating_sub(without) as f64 / (finished as f64).max(1.0);
    let all = format!("{waiting} waiting and {finished} finished tasks");
    vec![
        Row::new(format!("{all}: memory"), bytes(with as f64)).perhaps("≤ 150 MB", judged(with <= 150_000_000)),
        Row::new(format!("{all}: most held while it starts"), bytes(peak as f64))
            .perhaps("≤ 200 MB", judged(peak <= 200_000_000)),
        Row::new("a finished task: memory, of bytes that the API server sends", format!("{each:.0} B of {size}"))
            .perhaps("≤ 500 B", judged(each <= 500.0)),
        Row::new(
            format!("{all}: start → the unfinished listed, → all listed, without an API server's time"),
            format!("{}, {}", time(unfinished), time(listed)),
        ),
    ]
}

pub fn beside(beside: &Beside) -> Vec<Row> {
    let Beside { finished, none, many, restarts } = beside;
    let first_action: Vec<f64> = restarts.iter().map(|restart| restart.first_action).collect();
    let own = |attempts: &Attempts| middle_and_worst(&attempts.late.own_lag);
    let lag = |attempts: &Attempts| middle_and_worst(&attempts.late.lag);
    vec![
        Row::new(format!("{finished} finished tasks: restart → first action, of each restart"), times(&first_action)),
        Row::new(
            format!("due → Pod created beside {finished} finished tasks, and beside none"),
            format!("{}, {}", lag(many), lag(none)),
        ),
        Row::new(
            format!("… without the API server's own time, beside {finished} finished tasks, and beside none"),
            format!("{}, {}", own(many), own(none)),
        )
        .perhaps("within 20 %", Some(p50(&many.late.own_lag) <= 1.2 * p50(&none.late.own_lag))),
    ]
}
