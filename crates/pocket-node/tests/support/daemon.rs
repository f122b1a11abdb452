//! Daemon process, which has the runtime.

use std::{collections::BTreeSet, fs, path::Path, process::ExitCode};

use pocket_image::{FileToAdd, ImageStore, QuickBuild, RunConfig};
use pocket_node::namespaces::{Config, Entered, enter};

use super::scenarios;

/// Runs one scenario in namespaces.
pub(crate) fn main(scenario: &str) -> ExitCode {
    let inside = match enter() {
        Ok(Entered::Inside(inside)) => inside,
        Ok(Entered::Outside(code)) => return ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let dir = tempfile::tempdir_in(std::env::var_os("POCKET_TEST_DIR").unwrap_or_else(|| "/tmp".into())).unwrap();
    let images = ImageStore::open(dir.path().join("images")).unwrap();
    build(&images);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let all_ids = inside.has_all_ids();
        let config = Config { dir: dir.path().join("pods"), images };
        let (namespaces, net, _threads) = inside.start(config, 2).unwrap();
        let world = scenarios::World { namespaces, net, dir: dir.path().to_owned(), all_ids };
        scenarios::run(scenario, world).await;
    });
    drop(dir);
    std::process::exit(0)
}

/// Builds an image of this very binary, with the libraries that it has loaded.
fn build(images: &ImageStore) {
    let exe = fs::canonicalize("/proc/self/exe").unwrap();
    let mut files = vec![(FileToAdd::Copy(exe.clone()), "/bin/app".to_owned(), 0o755)];
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let loaded: BTreeSet<&str> = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).collect();
    for path in loaded.into_iter().filter(|path| path.starts_with('/') && Path::new(path) != exe) {
        files.push((FileToAdd::Copy(path.into()), path.to_owned(), 0o755));
    }
    // Paths of the loader: where it looks, and where the program says that it is.
    for link in ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"] {
        if let Ok(target) = fs::canonicalize(link) {
            files.push((FileToAdd::Copy(target), link.to_owned(), 0o755));
        }
    }
    files.push((FileToAdd::Bytes(b"not a program".to_vec()), "/bin/data".to_owned(), 0o644));
    files.push((FileToAdd::Bytes(b"#!/no/shell\n".to_vec()), "/bin/script".to_owned(), 0o755));
    files.push((FileToAdd::Bytes(b"root:x:0:0::/:\nweb:x:101:102::/:\n".to_vec()), "/etc/passwd".to_owned(), 0o644));
    let config = RunConfig {
        entrypoint: vec!["/bin/app".to_owned(), "app".to_owned()],
        user: "web".to_owned(),
        ..RunConfig::default()
    };
    QuickBuild { reference: "app:v1".to_owned(), files, config }.build(images).unwrap();
}
