//! What a person sees: on a pseudo-terminal of a given size.

use crate::named;
use crate::server::{Answer, Server, stored};
use crate::tasks::{ago, failed, in_queue, succeeded, task, waiting};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;

/// Begins each picture of what is drawn in place.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// A window, and what is typed into it.
struct Window<'a> {
    columns: u16,
    rows: u16,
    environment: &'a [(&'a str, &'a str)],
    typed: &'a str,
}

const WIDE: Window = Window { columns: 120, rows: 40, environment: &[], typed: "" };

impl Window<'_> {
    /// Runs the plugin in it to its end. Answers its exit code, and all that the terminal got.
    fn shows(&self, server: &Server, args: &[&str]) -> (Option<i32>, String) {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).custom_flags(libc::O_NOCTTY);
        let program = options.open(OsStr::from_bytes(name.as_bytes())).unwrap();
        let size = Winsize { ws_row: self.rows, ws_col: self.columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&program, size).unwrap();
        let mut terminal = File::from(terminal);
        terminal.write_all(self.typed.as_bytes()).unwrap();
        let mut command = named("kubectl-retryable", server);
        command.args(args).env("TERM", "xterm").envs(self.environment.iter().copied());
        command.stdin(program.try_clone().unwrap()).stdout(program.try_clone().unwrap()).stderr(program);
        let mut child = command.spawn().unwrap();
        // It has the terminal open too.
        drop(command);
        let mut shown = Vec::new();
        // When nobody has its other end open any more, Linux answers with an error.
        let _ = terminal.read_to_end(&mut shown);
        (child.wait().unwrap().code(), String::from_utf8(shown).unwrap().replace("\r\n", "\n"))
    }
}

/// A server whose task is so at first, and then changes so.
fn changing(first: Value, then: Value) -> Server {
    Server::new(move |request| {
        if request.line.contains("watch=") {
            return Answer::Text(json!({"type": "MODIFIED", "object": then}).to_string() + "\n");
        }
        stored(&[("retryabletasks", vec![first.clone()])], request)
    })
}

/// It runs its second attempt, in a queue.
fn running(name: &str) -> Value {
    let mut running = waiting(name);
    running["status"]["state"] = json!("Running");
    running["status"]["current"] = json!({"number": 2, "podName": "pod-2", "createTime": ago(5)});
    in_queue(running, "mail")
}

/// The text without colours.
fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').unwrap().1)
}

fn widest(text: &str) -> usize {
    plain(text).lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[test]
fn a_watched_task_is_drawn_in_place_until_it_ends() {
    let server = changing(running("import"), in_queue(succeeded("import"), "mail"));
    let (code, shown) = WIDE.shows(&server, &["get", "import", "--watch"]);
    let pictures: Vec<&str> = shown.split(CLEAR).collect();
    let [before, first, .., last] = &*pictures else { panic!("{shown:?}") };
    assert_eq!((code, *before), (Some(0), ""));
    assert!(first.contains("State:      Running\n") && first.contains("\u{1b}[32mRunning\u{1b}[0m"), "{first:?}");
    assert!(first.contains("Attempt 2 runs in Pod pod-2"), "{first:?}");
    assert!(last.contains("State:      Succeeded\n") && last.contains("attempt 1 succeeded"), "{last:?}");
    // Its queue says nothing about an attempt that runs, or has ended.
    assert!(!server.lines().iter().any(|line| line.contains("taskqueues")), "{:?}", server.lines());
}

#[test]
fn the_queue_of_a_task_in_its_line_is_looked_up_when_something_has_changed() {
    let queued = task("import", &json!({"state": "Queued", "current": {"number": 1, "queuedTime": ago(90)}}));
    let server = changing(in_queue(queued, "mail"), in_queue(succeeded("import"), "mail"));
    let (code, shown) = WIDE.shows(&server, &["get", "import", "--watch"]);
    assert!(code == Some(0) && shown.contains("for TaskQueue mail, which does not exist"), "{shown}");
    let looked_up = server.lines().iter().filter(|line| line.contains("/taskqueues/mail")).count();
    assert_eq!(looked_up, 1, "{:?}", server.lines());
}

#[test]
fn a_narrow_and_low_window_shows_what_matters_and_is_not_overrun() {
    let mut many = running("import");
    let entry = many["status"]["history"][0].clone();
    many["status"]["history"] = (1..=30)
        .map(|n| {
            let mut entry = entry.clone();
            entry["attempt"] = json!(n);
            entry
        })
        .collect();
    many["status"]["current"]["number"] = json!(31);
    let server = changing(many, succeeded("import"));
    let narrow = Window { columns: 50, rows: 20, ..WIDE };
    let (code, shown) = narrow.shows(&server, &["get", "import", "--watch"]);
    assert_eq!(code, Some(0), "{shown}");
    for picture in shown.split(CLEAR) {
        assert!(widest(picture) <= 50 && picture.lines().count() < 20, "{picture}");
    }
    let first = shown.split(CLEAR).nth(1).unwrap();
    assert!(first.contains("\n31 ") && !first.contains("NODE") && first.contains("MESSAGE"), "{first}");

    let tasks = vec![waiting("import"), failed("export", 9)];
    let (_, list) =
        Window { columns: 60, ..WIDE }.shows(&Server::with(&[("retryabletasks", tasks)]), &["list", "-o", "wide"]);
    assert!(widest(&list) <= 60 && list.contains("MESSAGE") && !list.contains("IMAGE"), "{list}");
}

#[test]
fn no_color_means_no_colours() {
    let server = Server::with(&[("retryabletasks", vec![failed("export", 9)])]);
    let list = |environment| Window { environment, ..WIDE }.shows(&server, &["list"]).1;
    let coloured = list(&[]);
    assert!(coloured.contains("\u{1b}[31mFailed\u{1b}[0m"), "{coloured:?}");
    for environment in [&[("NO_COLOR", "1")], &[("TERM", "dumb")]] {
        assert_eq!(list(environment), plain(&coloured), "{environment:?}");
    }
    // As the convention has it, an empty value is none.
    assert_eq!(list(&[("NO_COLOR", "")]), coloured);
}

#[test]
fn whoever_says_no_changes_nothing() {
    let server = Server::with(&[("retryabletasks", vec![failed("export", 9), failed("report", 12)])]);
    let asked = |typed| Window { typed, ..WIDE }.shows(&server, &["run-again", "--state", "Failed"]);
    for typed in ["n\n", "\n", "yess\n"] {
        let (code, shown) = asked(typed);
        assert!(shown.contains("  export\n  report\nrun-again of these 2 tasks? [y/N] "), "{shown:?}");
        assert!(code == Some(1) && shown.contains("error: nothing was changed\n"), "{shown:?}");
    }
    assert!(server.writes().is_empty());
}
