//! `rainbow man`: writes the reference as manual pages, one for each command.

use std::{fs, path::PathBuf};

use clap::Command;

use crate::{
    context::Context,
    error::{Error, Result, io_cause},
    words::count,
};

/// Arguments of `rainbow man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory to write them to, such as ~/.local/share/man/man1; it is made if it is not there
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result {
    let cannot = |error: std::io::Error| {
        Error::Usage(format!("cannot write manual pages to {}: {}", args.dir.display(), io_cause(&error)))
    };
    fs::create_dir_all(&args.dir).map_err(cannot)?;
    let pages = pages();
    for (name, page) in &pages {
        fs::write(args.dir.join(format!("{name}.1")), page).map_err(cannot)?;
    }
    let pages = count(i64::try_from(pages.len()).unwrap_or(i64::MAX), "manual page");
    context.printer.line(format_args!("{pages} written to {}", args.dir.display()));
    Ok(())
}

/// Returns the name and the content of each page: `rainbow`, `rainbow-apply`, `rainbow-local-up` and so on.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut command = crate::command();
    command.build();
    let mut pages = Vec::new();
    add(&command, "rainbow", &mut pages);
    pages
}

fn add(command: &Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = clap_mangen::Man::new(command.clone()).title(name).render(&mut page);
    pages.push((name.to_owned(), page));
    for child in command.get_subcommands().filter(|child| !child.is_hide_set() && child.get_name() != "help") {
        add(child, &format!("{name}-{}", child.get_name()), pages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let pages = pages();
        let page = |name: &str| {
            let found = pages.iter().find(|(known, _)| known == name).map(|(_, page)| page.clone());
            String::from_utf8(found.unwrap_or_else(|| panic!("{name}"))).unwrap()
        };
        assert!(page("rainbow").contains(".TH rainbow 1"));
        assert!(page("rainbow-local-up").contains("rainbow local up"), "{}", page("rainbow-local-up"));
        assert!(page("rainbow-scale").contains("TIER=N"));
        assert!(pages.iter().all(|(name, _)| !name.ends_with("help")));
    }
}
