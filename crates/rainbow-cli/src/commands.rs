//! One module per command.

pub(crate) mod apply;
pub(crate) mod completion;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod deploy;
pub(crate) mod diff;
pub(crate) mod drain;
pub(crate) mod history;
pub(crate) mod image;
pub(crate) mod install;
pub(crate) mod local;
pub(crate) mod operator;
pub(crate) mod pause;
pub(crate) mod poll;
pub(crate) mod promote;
pub(crate) mod query;
pub(crate) mod retire;
pub(crate) mod rollback;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod uninstall;
pub(crate) mod version;
pub(crate) mod why;
