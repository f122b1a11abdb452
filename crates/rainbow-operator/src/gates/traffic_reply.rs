//! Replies of a gate's traffic: which are good, and what the others were.

use regex::{Regex, RegexBuilder};

use crate::messages;

/// Most memory of a compiled pattern, in bytes.
const PATTERN_SIZE: usize = 1024 * 1024;
/// Different failures that are kept.
const KEPT: usize = 3;

/// Rule by which replies are judged.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Pattern whose groups are versions.
    pattern: Option<Regex>,
}

/// Judgement of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Good,
    /// Versions differ, in words.
    Mixed(String),
    /// There was no reply, or another one than expected, in words.
    Failed(String),
}

impl Rule {
    /// Reads a pattern.
    pub(super) fn of(pattern: Option<&str>) -> Result<Self, String> {
        let read = |text: &str| {
            let read = RegexBuilder::new(text).size_limit(PATTERN_SIZE).build();
            read.map_err(|error| messages::no_pattern(text, &error))
        };
        Ok(Self { pattern: pattern.map(read).transpose()? })
    }

    /// Returns whether bodies decide. Otherwise the status does.
    pub(super) fn reads_bodies(&self) -> bool {
        self.pattern.is_some()
    }

    /// Judges a reply. Groups that take no part in the match are no versions.
    pub(super) fn judge(&self, status: u16, body: &str) -> Reply {
        if status >= 400 {
            return Reply::Failed(messages::bad_status(status, body));
        }
        let Some(pattern) = &self.pattern else { return Reply::Good };
        let Some(found) = pattern.captures(body) else { return Reply::Failed(messages::unexpected_reply(body)) };
        let versions: Vec<&str> = found.iter().skip(1).flatten().map(|group| group.as_str()).collect();
        match versions.windows(2).all(|pair| pair[0] == pair[1]) {
            true => Reply::Good,
            false => Reply::Mixed(messages::mixed_reply(&versions)),
        }
    }
}

/// Counts of replies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) requests: u32,
    pub(super) failed: u32,
    pub(super) mixed: u32,
    /// First different failures, and how often each was seen.
    seen: Vec<(String, u32)>,
}

impl Tally {
    pub(super) fn add(&mut self, reply: Reply) {
        self.requests = self.requests.saturating_add(1);
        let says = match reply {
            Reply::Good => return,
            Reply::Mixed(says) => {
                self.mixed = self.mixed.saturating_add(1);
                says
            }
            Reply::Failed(says) => {
                self.failed = self.failed.saturating_add(1);
                says
            }
        };
        let has_room = self.seen.len() < KEPT;
        match self.seen.iter_mut().find(|(known, _)| *known == says) {
            Some((_, count)) => *count = count.saturating_add(1),
            None if has_room => self.seen.push((says, 1)),
            None => {}
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.failed == 0 && self.mixed == 0
    }

    /// Returns the counts and the first failures, in words.
    pub(super) fn message(&self) -> String {
        messages::traffic(self.requests, self.failed, self.mixed, &self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_decides() {
        let rule = Rule::of(Some(r"frontend:(\S+) - backend:(\S+)( - db:(\S+))?")).unwrap();
        for (status, body, expected) in [
            (200, "frontend:v2 - backend:v2", Reply::Good),
            (302, "frontend:v2 - backend:v2\n", Reply::Good),
            (200, "frontend:v2 - backend:v1", Reply::Mixed("versions are mixed: v2, v1".into())),
            (200, "frontend:v2", Reply::Failed("unexpected reply: `frontend:v2`".into())),
            (200, "", Reply::Failed("the reply is empty".into())),
            (500, "frontend:v2 - backend:v2", Reply::Failed("status 500: `frontend:v2 - backend:v2`".into())),
        ] {
            assert_eq!(rule.judge(status, body), expected, "{status} {body}");
        }
        assert_eq!(Rule::of(Some("ok")).unwrap().judge(200, "ok"), Reply::Good, "no groups, nothing to mix");
    }

    #[test]
    fn without_a_pattern_the_status_decides() {
        let rule = Rule::of(None).unwrap();
        for (status, expected) in [
            (200, Reply::Good),
            (399, Reply::Good),
            (400, Reply::Failed("status 400".into())),
            (503, Reply::Failed("status 503".into())),
        ] {
            assert_eq!(rule.judge(status, ""), expected, "{status}");
        }
    }

    #[test]
    fn a_pattern_is_limited() {
        assert!(Rule::of(Some("v(")).unwrap_err().starts_with("traffic.pattern: `v(` is no regular expression: "));
        let error = Rule::of(Some(r"(\w{1000}){1000}")).unwrap_err();
        assert!(error.contains("is too large"), "{error}");
    }

    #[test]
    fn the_first_failures_are_kept() {
        let mut tally = Tally::default();
        assert_eq!(tally.message(), "0 requests");
        for reply in ["a", "b", "a", "c", "d"] {
            tally.add(Reply::Failed(reply.into()));
        }
        tally.add(Reply::Good);
        assert_eq!((tally.requests, tally.failed, tally.mixed), (6, 5, 0));
        assert_eq!(tally.message(), "5 of 6 requests failed: a (2 times), b, c, …");
        let mut tally = Tally::default();
        tally.add(Reply::Mixed("versions are mixed: v2, v1".into()));
        assert!(!tally.is_good());
        assert_eq!(tally.message(), "1 of 1 request was mixed: versions are mixed: v2, v1");
    }
}
