//! The form to log in, and pages that say why nothing is shown.

use super::frame::Frame;
use askama::Template;

/// The form to log in.
#[derive(Template)]
#[template(path = "login.html")]
pub struct LoginPage {
    frame: Frame,
    /// Why the last try failed, or why it is asked for.
    problem: Option<String>,
    /// Where to go afterwards: the part of the URL after the prefix.
    next: String,
}

/// The form, which leads to `next` afterwards.
pub fn login(problem: Option<String>, next: String) -> LoginPage {
    LoginPage { frame: Frame::bare("Log in"), problem, next }
}

/// A page that says why nothing is shown.
#[derive(Template)]
#[template(path = "problem.html")]
pub struct ProblemPage {
    frame: Frame,
    title: String,
}

/// A page that says why nothing is shown.
pub fn problem(title: &str, text: String) -> ProblemPage {
    // Above a page that is kept up to date it is a notice too.
    ProblemPage { frame: Frame { notices: vec![text], ..Frame::bare(title) }, title: title.to_owned() }
}
