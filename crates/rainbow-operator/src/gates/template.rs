//! Names in texts of gates, such as `{{color}}`, and their values.

use std::collections::BTreeMap;

use rainbow_plan::Time;

use super::{
    answer::Question,
    values::{self, Secrets, Text},
};
use crate::messages;

/// Values of the names, by name.
pub(super) struct Names {
    values: BTreeMap<String, Text>,
}

/// Text with its names replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    /// Text to be sent.
    pub(super) sent: String,
    /// Text for people, in which the names of values from Secrets stay as they are.
    pub(super) shown: String,
}

impl Names {
    /// Returns the names of a check, and reads the values of arguments that are elsewhere.
    ///
    /// # Errors
    /// Fails with the reason why the value of an argument is unknown.
    pub(super) async fn of(question: &Question<'_>, secrets: &mut Secrets) -> Result<Self, String> {
        let mut names = Self::plain(question);
        for argument in &question.place.args {
            let text = match (&argument.value, &argument.value_from) {
                (Some(value), _) => Text::plain(value.as_str()),
                (None, Some(source)) => values::read(question.client, &question.place.namespace, source).await?,
                (None, None) => return Err(messages::no_value(&argument.name)),
            };
            secrets.note(&text);
            names.values.insert(format!("args.{}", argument.name), text);
        }
        Ok(names)
    }

    /// Returns the names of a check without arguments.
    fn plain(question: &Question<'_>) -> Self {
        let place = question.place;
        let since = since(question.since, question.clock.now());
        let known = [
            ("color", question.check.color.as_str()),
            ("stage", place.stage.as_str()),
            ("tier", place.tier.as_str()),
            ("service", place.service.as_str()),
            ("namespace", place.namespace.as_str()),
            ("since", since.as_str()),
        ];
        Self { values: known.into_iter().map(|(name, value)| (name.to_owned(), Text::plain(value))).collect() }
    }

    /// Replaces the names in a text.
    ///
    /// # Errors
    /// Fails with a sentence that names what is no name.
    pub(super) fn render(&self, text: &str) -> Result<Rendered, String> {
        let (mut sent, mut shown) = (String::new(), String::new());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, behind) = after.split_once("}}").ok_or(messages::OPEN_NAME)?;
            let name = inside.trim();
            let text = self.values.get(name).ok_or_else(|| messages::unknown_name(name))?;
            sent.push_str(before);
            shown.push_str(before);
            sent.push_str(&text.value);
            match text.is_secret {
                true => shown.push_str(&format!("{{{{{name}}}}}")),
                false => shown.push_str(&text.value),
            }
            rest = behind;
        }
        sent.push_str(rest);
        shown.push_str(rest);
        Ok(Rendered { sent, shown })
    }
}

/// Returns the time since a moment, in whole seconds, at least one: Prometheus knows no range of 0 s.
pub(super) fn since(since: Time, now: Time) -> String {
    format!("{}s", seconds(since, now))
}

/// Returns the number of whole seconds since a moment, at least 1.
pub(super) fn seconds(since: Time, now: Time) -> i64 {
    now.0.saturating_sub(since.0).div_euclid(1000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let secret = Text { value: "s3cret".into(), is_secret: true };
        let values = [("color", Text::plain("v2")), ("args.team", Text::plain("shop")), ("args.key", secret)];
        Names { values: values.into_iter().map(|(name, text)| (name.to_owned(), text)).collect() }
    }

    #[test]
    fn names_are_replaced() {
        for (text, sent, shown) in [
            ("up", "up", "up"),
            ("", "", ""),
            (r#"up{color="{{color}}"}[1m]"#, r#"up{color="v2"}[1m]"#, r#"up{color="v2"}[1m]"#),
            ("{{ color }}{{args.team}}", "v2shop", "v2shop"),
            ("k={{args.key}}&c={{color}}", "k=s3cret&c=v2", "k={{args.key}}&c=v2"),
            ("a}}b", "a}}b", "a}}b"),
        ] {
            assert_eq!(names().render(text), Ok(Rendered { sent: sent.into(), shown: shown.into() }), "{text}");
        }
    }

    #[test]
    fn an_unknown_name_is_named() {
        for (text, expected) in [
            ("{{colour}}", "`{{colour}}` is no name: use color, stage,"),
            ("{{args.none}}", "`{{args.none}}` is no name"),
            ("{{}}", "`{{}}` is no name"),
            ("a {{color", "a `{{` has no `}}`"),
        ] {
            let error = names().render(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    /// A value is text, and is not searched for names.
    #[test]
    fn a_value_is_not_replaced_again() {
        let values = BTreeMap::from([("color".to_owned(), Text::plain("{{stage}}"))]);
        assert_eq!(Names { values }.render("{{color}}").unwrap().sent, "{{stage}}");
    }

    #[test]
    fn the_time_since_is_in_whole_seconds() {
        for (since, now, expected) in [(0, 90_999, "90s"), (0, 0, "1s"), (0, 999, "1s"), (5_000, 0, "1s")] {
            assert_eq!(super::since(Time(since), Time(now)), expected);
        }
    }
}
