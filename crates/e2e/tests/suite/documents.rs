//! Walks through README.md and the pages in docs/: the commands that readers paste are run.
//!
//! Each walk has a cluster and a directory of its own, with what a reader has after `git clone`. What is not as a reader has it: the programs
//! are those of this build, so `cargo` does nothing; steps and waits of the examples are shorter; the cluster has
//! an address of its own.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use e2e::{Cli, Cluster, RUN_DOCUMENTS, document, programs};

/// Names of colors that the documents use for the first and the second commit.
const COMMITS: [&str; 2] = ["3c3fdc", "9a01be"];
/// Times in the examples that are made shorter.
const SHORTER: [(&str, &str); 3] =
    [("every: 30s", "every: 1s"), ("settle: 30s", "settle: 2s"), ("warm: 30s", "warm: 2s")];
/// Profile of the local cluster: it has an address of its own, in place of the one that the documents name, so that no port has to be free.
const PROFILE: &str = "documents";
/// Address that the documents name.
const LOCALHOST: &str = "127.0.0.1";

/// A directory as after `git clone`, with a home of its own for the local cluster.
struct Clone {
    dir: tempfile::TempDir,
    /// Address of the local cluster.
    address: String,
    cli: Cli,
}

impl Clone {
    fn new(cluster: &Cluster) -> Result<Self> {
        let dir = tempfile::TempDir::with_prefix("rainbow-documents-")?;
        let programs = fs::canonicalize(programs()?)?;
        let cli = Cli::new(&programs.join("rainbow")).with("RAINBOW_HOME", dir.path().join("home"));
        let cli = cli.with("RAINBOW_PROFILE", PROFILE);
        let home = dir.path().join("home").join("profiles").join(PROFILE);
        fs::create_dir_all(&home)?;
        let address = own_address(dir.path());
        fs::write(home.join("address"), &address)?;
        let clone = Self { address, cli, dir };
        let root = root();
        for directory in ["examples", "deploy"] {
            clone.copy(&root.join(directory), &clone.repository().join(directory))?;
        }
        for file in ["Makefile", "Cargo.toml", ".gitignore"] {
            fs::copy(root.join(file), clone.repository().join(file))?;
        }
        let release = clone.repository().join("target").join(target());
        fs::create_dir_all(&release)?;
        std::os::unix::fs::symlink(programs, release.join("release"))?;
        let tools = clone.tools();
        fs::create_dir_all(&tools)?;
        std::os::unix::fs::symlink("/bin/true", tools.join("cargo"))?;
        let kubectl = cluster.kubectl().context("the suite has no kubectl")?;
        std::os::unix::fs::symlink(fs::canonicalize(kubectl.program())?, tools.join("kubectl"))?;
        fs::write(tools.join("smoke-test.sh"), "#!/bin/sh\nexec curl --fail --silent \"$URL\"\n")?;
        clone.bash(
            "chmod +x ../tools/smoke-test.sh && cp ../tools/smoke-test.sh . && git init --quiet && git add --all && \
             git commit --quiet --message clone",
        )?;
        Ok(clone)
    }

    fn repository(&self) -> PathBuf {
        self.dir.path().join("rainbow")
    }

    fn tools(&self) -> PathBuf {
        self.dir.path().join("tools")
    }

    /// Copies a directory, with shorter waits and another address in its text.
    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let path = entry?.path();
            let copy = to.join(path.file_name().context("an entry has a name")?);
            match path.is_dir() {
                true => self.copy(&path, &copy)?,
                false => {
                    fs::copy(&path, &copy)?;
                    if let Ok(text) = fs::read_to_string(&path) {
                        fs::write(&copy, self.adapt(&text))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn adapt(&self, text: &str) -> String {
        let text = SHORTER.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        text.replace(LOCALHOST, &self.address)
    }

    /// Runs a script in the directory. Its output is part of the error.
    fn bash(&self, script: &str) -> Result<()> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([self.tools()].into_iter().chain(std::env::split_paths(&path)))?;
        let home = self.dir.path().join("user");
        fs::create_dir_all(&home)?;
        // A background process that keeps the output open must not keep this test.
        let log = self.dir.path().join("log");
        let output = fs::File::create(&log)?;
        let status = Command::new("bash")
            .args(["--noprofile", "--norc", "-c", script])
            .current_dir(self.repository())
            .env_remove("KUBECONFIG")
            .envs([("NO_COLOR", "1"), ("TARGET", &target()), ("GIT_CONFIG_GLOBAL", "/dev/null")])
            .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@example.com")])
            .envs([("GIT_COMMITTER_NAME", "a"), ("GIT_COMMITTER_EMAIL", "a@example.com")])
            .env("RAINBOW_HOME", self.dir.path().join("home"))
            .env("RAINBOW_PROFILE", PROFILE)
            .env("STAYS", self.dir.path().join("stays"))
            .env("HOME", home)
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .status()?;
        ensure!(status.success(), "{status}:\n{}", fs::read_to_string(&log)?);
        Ok(())
    }

    /// The blocks of documents as one script.
    fn script(&self, documents: &[&str]) -> Result<String> {
        let mut script = String::from(PRELUDE);
        for name in documents {
            script.push_str(&format!("printf '\\n--- %s\\n' {name}\n"));
            for block in document::blocks(&root(), name)?.iter().filter(|block| block.not_run.is_none()) {
                script.push_str(&self.adapt(&document::script(&block.commands)?));
            }
        }
        Ok(script)
    }
}

/// `refresh` puts the names of the commits in place of those that the documents use. What the script leaves in the background ends with it.
const PRELUDE: &str = r#"trap 'kill $(jobs -p) 2>/dev/null' EXIT
refresh() {
  set -- $(git log --reverse --format=%H | cut -c -6)
  line=${line//3c3fdc/$1} line=${line//9a01be/$2}
}
"#;

impl Drop for Clone {
    fn drop(&mut self) {
        let _ = self.cli.output(&["local", "down"]);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// As README.md spells it.
fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// An address of the loopback that follows from the name of a temporary directory, which is random.
fn own_address(directory: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    directory.hash(&mut hasher);
    let [first, second, third, ..] = hasher.finish().to_le_bytes();
    format!("127.{}.{second}.{}", first.max(1), third.clamp(1, 254))
}

/// The three walks of README.md, from the first command to the last, in one shell.
pub(crate) fn readme_walks(cluster: &Cluster) -> Result<()> {
    let clone = Clone::new(cluster)?;
    let text = fs::read_to_string(root().join("README.md"))?;
    for name in COMMITS {
        ensure!(text.contains(name), "README.md names no commit {name}");
    }
    clone.bash(&format!("{}{CONNECTION_STAYS}", clone.script(&["README.md"])?))
}

/// Check of README.md's claim about the connection of the second walk: the connection continues to print the first color, and that color goes
/// when the connection has ended.
const CONNECTION_STAYS: &str = r##"
line=3c3fdc; refresh; first=$line
line=9a01be; refresh; second=$line
grep -qF "The color is #$first" "$STAYS" || { echo "the connection has printed nothing"; exit 92; }
if grep -F "#$second" "$STAYS"; then echo "the connection has changed its color"; exit 93; fi
kill $(jobs -p)
kubectl wait --for=jsonpath='{.status.phase}'=Retired "color/colors-$first" --timeout=2m || exit 94
"##;

/// The pages in docs/, with the applications that they speak of.
pub(crate) fn pages(cluster: &Cluster) -> Result<()> {
    let clone = Clone::new(cluster)?;
    // Tier by tier is another application of the same name.
    let (tiers, others): (Vec<&str>, Vec<&str>) =
        RUN_DOCUMENTS.iter().filter(|name| **name != "README.md").partition(|name| name.ends_with("/tiers.md"));
    let given = clone.adapt(GIVEN);
    clone.bash(&format!("{given}{}", clone.script(&others)?))?;
    clone.bash(&format!("{GIVEN_BACKWARD}{}", clone.script(&tiers)?))
}

/// A cluster, images, `seamless` at its second version, and `shop`, whose second version has an image that is not there.
const GIVEN: &str = r#"set -e
export PATH="$PWD/target/$TARGET/release:$PATH"
rainbow local up
export KUBECONFIG=$(rainbow local kubeconfig)
make images
rainbow apply -f examples/seamless/v1.yaml --wait
rainbow apply -f examples/seamless/v2.yaml --wait
sed 's/name: seamless/name: shop/; s/^  color:/  namePrefix: shop-\n  color:/; s/name: http, port: [0-9]*/name: http, port: 80/' examples/seamless/v1.yaml >../shop.yaml
sed -i 's/type: LoadBalancer/type: ClusterIP/; s/replicas: 5/replicas: 1/; s/, ports: \[{ name: http, port: 80 }\]//' ../shop.yaml
rainbow apply -f ../shop.yaml --wait
rainbow deploy shop --color v2 --image backend=nothing:v2
set +e
"#;

const GIVEN_BACKWARD: &str = r#"set -e
export PATH="$PWD/target/$TARGET/release:$PATH"
export KUBECONFIG=$(rainbow local kubeconfig)
rainbow delete seamless --wait
kubectl apply -f examples/seamless/backward.yaml
kubectl wait --for=condition=Ready rainbow/seamless --timeout=120s
set +e
"#;
