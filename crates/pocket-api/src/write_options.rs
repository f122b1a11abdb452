//! Options of a write: author, manner, and the warnings that it causes.

use std::sync::{Mutex, PoisonError};

use pocket_object::managed::{Manager, Operation};

use crate::{resource::Subresource, time::now};

/// Treatment of fields that the kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Drops them.
    Ignore,
    /// Drops them and warns.
    Warn,
    /// Refuses the write.
    Strict,
}

/// Form of a client's body, for messages that have to show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyForm {
    /// Whole object.
    Object,
    /// JSON Patch: messages show the patched object.
    JsonPatch,
    /// Strategic merge patch, with the text that messages show.
    StrategicPatch(String),
}

/// Author and manner of a write.
pub(crate) struct WriteOptions {
    /// Whether to do everything but store the result.
    pub(crate) dry_run: bool,
    pub(crate) manager: String,
    /// Treatment of unknown fields.
    pub(crate) validation: FieldValidation,
    /// Mistakes of the body beside its content, such as a field that occurs twice, as sentences.
    pub(crate) mistakes: Vec<String>,
    /// Form of the body.
    pub(crate) body_form: BodyForm,
    /// Time of the request in the format of Kubernetes.
    pub(crate) now: String,
    warnings: Mutex<Vec<String>>,
}

impl WriteOptions {
    pub(crate) fn new(dry_run: bool, manager: String, validation: FieldValidation) -> Self {
        let (mistakes, body_form, warnings) = (Vec::new(), BodyForm::Object, Mutex::default());
        Self { dry_run, manager, validation, mistakes, body_form, now: now(), warnings }
    }

    /// Adds mistakes of the body beside its content.
    pub(crate) fn with_mistakes(mut self, mistakes: Vec<String>) -> Self {
        self.mistakes = mistakes;
        self
    }

    /// Returns the options of a write by the server itself.
    pub(crate) fn by_server() -> Self {
        Self::new(false, "pocket".into(), FieldValidation::Ignore)
    }

    /// Warns the client; a warning is no error.
    pub(crate) fn warn(&self, text: String) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    /// Takes the warnings so far.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the manager that owns the fields of this write.
    pub(crate) fn manager<'a>(
        &'a self,
        operation: Operation,
        api_version: &'a str,
        sub: Option<&'a Subresource>,
    ) -> Manager<'a> {
        Manager {
            name: &self.manager,
            operation,
            api_version,
            subresource: sub.map(Subresource::name),
            time: &self.now,
        }
    }
}
