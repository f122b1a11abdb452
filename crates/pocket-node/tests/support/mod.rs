pub(crate) mod app;
pub(crate) mod daemon;
pub(crate) mod harness;
pub(crate) mod scenarios;
