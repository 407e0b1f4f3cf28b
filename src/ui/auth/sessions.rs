//! Those who have logged in by the form. The browser has a random name, not the token: cookies of 127.0.0.1 go to every
//! server on that address, whatever its port.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a session lasts that nobody uses.
const IDLE: Duration = Duration::from_secs(8 * 3600);
/// Most sessions at a time. The one that was used least lately makes way.
const MOST: usize = 1000;

/// The sessions. They end with this process.
#[derive(Default)]
pub struct Sessions {
    sessions: Mutex<HashMap<String, Session>>,
}

struct Session {
    token: String,
    used: Instant,
}

impl Sessions {
    /// Begins a session of that token.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn begin(&self, token: &str) -> Result<String, getrandom::Error> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        let name = random.iter().fold(String::new(), |mut name, byte| {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
            name
        });
        let mut sessions = self.lock();
        sessions.retain(|_, session| session.used.elapsed() < IDLE);
        if sessions.len() >= MOST {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.used).map(|(name, _)| name.clone());
            oldest.and_then(|name| sessions.remove(&name));
        }
        sessions.insert(name.clone(), Session { token: token.to_owned(), used: Instant::now() });
        Ok(name)
    }

    /// The token of that session, if it lasts.
    pub fn token(&self, name: &str) -> Option<String> {
        let mut sessions = self.lock();
        let session = sessions.get_mut(name).filter(|session| session.used.elapsed() < IDLE)?;
        session.used = Instant::now();
        Some(session.token.clone())
    }

    /// Ends it.
    pub fn end(&self, name: &str) {
        self.lock().remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_when_nobody_uses_it() {
        let sessions = Sessions::default();
        let name = sessions.begin("token").unwrap();
        for _ in 0..3 {
            tokio::time::advance(IDLE / 2).await;
            assert_eq!(sessions.token(&name).as_deref(), Some("token"));
        }
        tokio::time::advance(IDLE).await;
        assert_eq!(sessions.token(&name), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_least_used_makes_way() {
        let sessions = Sessions::default();
        let (first, second) = (sessions.begin("first").unwrap(), sessions.begin("second").unwrap());
        assert_ne!(first, second);
        for _ in 2..MOST {
            tokio::time::advance(Duration::from_secs(1)).await;
            sessions.begin("other").unwrap();
        }
        sessions.token(&first);
        tokio::time::advance(Duration::from_secs(1)).await;
        sessions.begin("one more").unwrap();
        assert_eq!((sessions.token(&first).is_some(), sessions.token(&second).is_some()), (true, false));
        sessions.end(&first);
        assert_eq!(sessions.token(&first), None);
    }
}
