//! Rule by which replies are judged.

use std::collections::BTreeMap;

use crate::{Compatible, Order, Pattern, Verdict};

/// Rule by which replies are judged: their shape, and the versions that may be in one reply.
///
/// In the pattern a caller stands before its callee, as in `frontend:{v} - backend:{v}`: texts with equal names are compared with the one before.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Shape of a reply.
    pub pattern: Pattern,
    /// Versions that a caller and its callee may have.
    pub compatible: Compatible,
    /// Order of versions, which decides which one is newer.
    pub order: Order,
}

impl Rule {
    /// Judges a reply.
    pub fn judge(&self, reply: &str) -> Verdict {
        let Some(found) = self.pattern.read(reply) else { return Verdict::Unexpected };
        let mut callers: BTreeMap<&str, &str> = BTreeMap::new();
        let mut verdict = Verdict::Good;
        for (name, version) in found {
            let Some(caller) = callers.insert(name, version) else { continue };
            if caller == version {
                continue;
            }
            match self.compatible {
                Compatible::Backward if self.order.is_newer(version, caller) => verdict = Verdict::Compatible,
                Compatible::Backward | Compatible::Same => return Verdict::Mixed,
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, compatible: Compatible, order: Order) -> Rule {
        Rule { pattern: pattern.parse().unwrap(), compatible, order }
    }

    #[test]
    fn a_newer_callee_is_compatible_and_a_newer_caller_is_not() {
        let strict = rule("frontend:{v} - backend:{v}", Compatible::Same, Order::Natural);
        let backward = Rule { compatible: Compatible::Backward, ..strict.clone() };
        for (reply, by_strict, by_backward) in [
            ("frontend:v1 - backend:v1", Verdict::Good, Verdict::Good),
            ("frontend:v1 - backend:v2", Verdict::Mixed, Verdict::Compatible),
            ("frontend:v2 - backend:v1", Verdict::Mixed, Verdict::Mixed),
            ("frontend:v9 - backend:v10", Verdict::Mixed, Verdict::Compatible),
            ("frontend:v10 - backend:v9", Verdict::Mixed, Verdict::Mixed),
            ("frontend:v1 - backend:v01", Verdict::Mixed, Verdict::Mixed),
            ("frontend:v1 - ", Verdict::Unexpected, Verdict::Unexpected),
        ] {
            assert_eq!(strict.judge(reply), by_strict, "{reply}");
            assert_eq!(backward.judge(reply), by_backward, "{reply}");
        }
    }

    #[test]
    fn each_callee_of_a_chain_is_compared_with_its_caller() {
        let rule = rule("a:{v} b:{v} c:{v}", Compatible::Backward, Order::Natural);
        assert_eq!(rule.judge("a:1 b:2 c:2"), Verdict::Compatible);
        assert_eq!(rule.judge("a:1 b:1 c:3"), Verdict::Compatible);
        assert_eq!(rule.judge("a:1 b:3 c:2"), Verdict::Mixed, "the caller in the middle is newer than its callee");
        assert_eq!(rule.judge("a:2 b:1 c:3"), Verdict::Mixed);
    }

    #[test]
    fn hashes_have_the_order_that_is_given() {
        let order: Order = "f00d,3c3f".parse().unwrap();
        let rule = rule("frontend:{v} - backend:{v}", Compatible::Backward, order);
        assert_eq!(rule.judge("frontend:f00d - backend:3c3f"), Verdict::Compatible);
        assert_eq!(rule.judge("frontend:3c3f - backend:f00d"), Verdict::Mixed);
        assert_eq!(rule.judge("frontend:f00d - backend:beef"), Verdict::Mixed, "an unknown version is not newer");
    }
}
