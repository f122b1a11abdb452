//! Examples in the help of each command. A test demands some for every command, and parses them.

use clap::Command;

/// Example: its purpose, and the command line.
type Example = (&'static str, &'static str);

/// Examples by the path of the command.
const ALL: &[(&str, &[Example])] = &[
    (
        "local up",
        &[
            ("Start a cluster and let this shell use it", "eval $(rainbow local up)"),
            ("A second one beside it, with ports of its own", "rainbow local up --profile ci"),
        ],
    ),
    (
        "local down",
        &[
            ("End the cluster with all objects; images stay", "rainbow local down"),
            ("Leave nothing behind", "rainbow local down --purge"),
        ],
    ),
    ("local stop", &[("Free memory and processor until tomorrow", "rainbow local stop")]),
    ("local start", &[("Go on where it was stopped", "rainbow local start")]),
    ("local status", &[("Whether it runs, and since when", "rainbow local status")]),
    (
        "local list",
        &[
            ("All clusters of this machine's user", "rainbow local list"),
            ("Their names, for a script", "rainbow local list -o name"),
        ],
    ),
    ("local kubeconfig", &[("Let kubectl use it", "export KUBECONFIG=$(rainbow local kubeconfig)")]),
    (
        "image build",
        &[
            ("From the Dockerfile in the directory app", "rainbow image build -t web:v1 app"),
            (
                "Named after the git commit",
                "rainbow image build --color git -t 'web:{color}' --build-arg 'COLOR={color}' .",
            ),
        ],
    ),
    (
        "image load",
        &[
            ("An archive", "rainbow image load web.tar"),
            ("An image of Docker's", "docker save web:v1 | rainbow image load -"),
        ],
    ),
    ("image save", &[("For Docker, kind or a registry", "rainbow image save -o web.tar web:v1")]),
    (
        "image ls",
        &[("What there is", "rainbow image ls"), ("With dates and whole digests", "rainbow image ls -o wide")],
    ),
    ("image rm", &[("Two images", "rainbow image rm web:v1 web:v2")]),
    ("image tag", &[("A second name", "rainbow image tag web:v1 registry.example.com/web:v1")]),
    (
        "install",
        &[
            ("Install it and wait until it runs", "rainbow install --wait"),
            ("Look at the objects first", "rainbow install --dry-run"),
            ("From a registry of your own", "rainbow install --image registry.example.com/rainbow:1"),
        ],
    ),
    ("uninstall", &[("Take it out; what serves goes on serving", "rainbow uninstall")]),
    (
        "operator",
        &[
            ("Beside an editor, against the cluster of the kubeconfig", "rainbow operator"),
            ("For one namespace only", "rainbow operator -n shop"),
        ],
    ),
    (
        "apply",
        &[
            ("A file", "rainbow apply -f shop.yaml"),
            ("Everything below a directory, and wait for it", "rainbow apply -f manifests -R --wait --timeout 10m"),
            ("As the version of the git commit", "rainbow apply -f shop.yaml --color git"),
            ("A kustomization", "rainbow apply -k overlays/production"),
            ("From elsewhere", "curl -fsSL https://example.com/shop.yaml | rainbow apply -f -"),
            ("Let the cluster check it and write nothing", "rainbow apply -f shop.yaml --dry-run=server"),
        ],
    ),
    (
        "lint",
        &[
            ("Before a commit", "rainbow lint shop.yaml"),
            ("A whole directory, as JSON for another program", "rainbow lint -R manifests -o json"),
            ("What a pipeline has rendered", "helm template shop | rainbow lint -"),
        ],
    ),
    (
        "scale",
        &[
            ("Five pods of the tier web", "rainbow scale shop web=5"),
            ("Two tiers at once, and wait for their pods", "rainbow scale shop web=5 api=3 --wait"),
            ("As kubectl writes it", "rainbow scale shop --tier web --replicas 5"),
        ],
    ),
    (
        "deploy",
        &[
            ("A new image of one tier, as version v2", "rainbow deploy shop --color v2 --image web=web:v2"),
            (
                "Named after the git commit, and wait",
                "rainbow deploy shop --color git --image 'web=web:{color}' --wait",
            ),
            ("Another value of a variable", "rainbow deploy shop --env web:LOG_LEVEL=debug"),
        ],
    ),
    (
        "promote",
        &[
            ("Move the active stage to the newest version and wait", "rainbow promote shop --wait"),
            ("Another stage, to a version by name", "rainbow promote shop --stage canary --to v3"),
            (
                "Although a gate has not passed",
                "rainbow promote shop --to v3 --skip-gate errors --reason \"known, fixed in v4\"",
            ),
        ],
    ),
    (
        "rollback",
        &[
            ("Back to the version before", "rainbow rollback shop"),
            ("To one by name, and wait", "rainbow rollback shop --to v1 --wait"),
        ],
    ),
    ("pause", &[("Hold the active stage in mid-shift", "rainbow pause shop")]),
    (
        "resume",
        &[
            ("Let it go on", "rainbow resume shop"),
            ("Past the pause between two tiers, or in its steps", "rainbow resume shop --stage smoke"),
        ],
    ),
    (
        "gates",
        &[
            ("What is checked, and how it stands", "rainbow gates shop"),
            ("One stage, as it changes", "rainbow gates shop --stage active -w"),
            ("Every measurement, for a script", "rainbow gates shop -o json"),
        ],
    ),
    (
        "approve",
        &[
            ("The gate that waits", "rainbow approve shop --reason \"tested by hand\""),
            ("One gate, for two hours", "rainbow approve shop --gate release --until 2h"),
            ("In a freeze, for a reason that it allows", "rainbow approve shop --reason \"incident 4711\""),
        ],
    ),
    ("abort", &[("Back to where the shift began", "rainbow abort shop --wait")]),
    (
        "drain",
        &[
            ("Give a version another hour", "rainbow drain shop v1 --deadline 1h"),
            ("End its connections now", "rainbow drain shop v1 --deadline now"),
        ],
    ),
    (
        "retire",
        &[
            ("Do not keep it as a way back", "rainbow retire shop v1"),
            ("End its connections, too", "rainbow retire shop v1 --force"),
        ],
    ),
    (
        "status",
        &[
            ("Stages, versions and pods", "rainbow status shop"),
            ("Follow a release", "rainbow status shop -w"),
            ("For a script", "rainbow status shop -o json"),
        ],
    ),
    (
        "list",
        &[
            ("All applications of the namespace", "rainbow list"),
            ("Those of all namespaces, as they change", "rainbow list -A -w"),
        ],
    ),
    (
        "why",
        &[
            ("What each stage waits for, and why pods are not ready", "rainbow why shop"),
            ("What holds a version, and what would free it", "rainbow why shop v1"),
        ],
    ),
    (
        "logs",
        &[
            (
                "All pods of the version that stage smoke serves, as lines are written",
                "rainbow logs shop --stage smoke -f",
            ),
            (
                "One tier of one version, the last five minutes",
                "rainbow logs shop --color v2 --tier backend --since 5m",
            ),
        ],
    ),
    (
        "open",
        &[
            ("The active stage in the browser", "rainbow open shop"),
            ("Its address, for a script", "rainbow open shop --print"),
        ],
    ),
    ("diff", &[("What a release changes", "rainbow diff shop v1 v2")]),
    (
        "query",
        &[
            ("What clients of the active stage see", "rainbow query shop"),
            ("Ten requests to another stage", "rainbow query shop --stage smoke -c 10 --path /healthz"),
            ("A second port of its Service", "rainbow query shop --port admin"),
        ],
    ),
    (
        "poll",
        &[
            ("A request a second until Ctrl-C", "rainbow poll shop"),
            ("Load during a release, with a report for a script", "rainbow poll shop --rate 200 --for 1m --json"),
        ],
    ),
    (
        "test",
        &[("Go on when the test passes, and back when it fails", "rainbow test shop --stage smoke -- ./smoke-test.sh")],
    ),
    ("history", &[("All versions", "rainbow history shop")]),
    ("delete", &[("Delete it and wait until its pods have ended", "rainbow delete shop --wait")]),
    ("demo", &[("The first story, in about a minute", "rainbow demo")]),
    ("demo colors", &[("Versions named by git, and connections that stay", "rainbow demo colors")]),
    ("demo backward", &[("A release tier by tier", "rainbow demo backward")]),
    (
        "completion",
        &[
            ("For this shell", "source <(rainbow completion bash)"),
            ("For every shell to come", "echo 'source <(rainbow completion bash)' >> ~/.bashrc"),
        ],
    ),
    ("man", &[("Where man looks for them", "rainbow man ~/.local/share/man/man1")]),
    ("version", &[("This program, the cluster and its operator", "rainbow version")]),
];

/// Returns the examples of a command, by its path without the program's name.
pub(crate) fn of(path: &str) -> &'static [Example] {
    ALL.iter().find(|(known, _)| *known == path).map(|(_, examples)| *examples).unwrap_or_default()
}

/// Adds the examples to the help of each command.
pub(crate) fn added(command: Command) -> Command {
    add(command, "")
}

fn add(command: Command, path: &str) -> Command {
    let command = command.mut_subcommands(|child| {
        let path = format!("{path} {}", child.get_name());
        add(child, path.trim_start())
    });
    let examples = of(path);
    if examples.is_empty() {
        return command;
    }
    let lines: Vec<String> = examples.iter().map(|(what, line)| format!("  # {what}\n  {line}")).collect();
    let mut text = format!("Examples:\n{}", lines.join("\n"));
    if let Some(before) = command.get_after_help() {
        text = format!("{before}\n\n{text}");
    }
    command.after_help(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(command: &Command, path: &str, found: &mut Vec<String>) {
        let children: Vec<&Command> =
            command.get_subcommands().filter(|child| !child.is_hide_set() && child.get_name() != "help").collect();
        if !path.is_empty() && (children.is_empty() || !command.is_subcommand_required_set()) {
            found.push(path.to_owned());
        }
        for child in children {
            leaves(child, format!("{path} {}", child.get_name()).trim_start(), found);
        }
    }

    #[test]
    fn every_command_has_examples_and_every_example_a_command() {
        let mut found = Vec::new();
        leaves(&crate::command(), "", &mut found);
        let known: Vec<&str> = ALL.iter().map(|(path, _)| *path).collect();
        let missing: Vec<&String> = found.iter().filter(|path| !known.contains(&path.as_str())).collect();
        assert!(missing.is_empty(), "add examples of {missing:?} to src/examples.rs");
        let unknown: Vec<&&str> = known.iter().filter(|path| !found.iter().any(|known| known == **path)).collect();
        assert!(unknown.is_empty(), "{unknown:?} is no command");
    }

    /// Returns the words of a command line that this program gets: from its name to the next operator of the shell.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quote = None;
        for c in line.chars() {
            match quote {
                Some(mark) if c == mark => quote = None,
                None if c == '\'' || c == '"' => quote = Some(c),
                None if c == ' ' || c == '(' || c == ')' => words.push(String::new()),
                _ => words.last_mut().unwrap().push(c),
            }
        }
        let words = words.into_iter().filter(|word| !word.is_empty());
        words
            .skip_while(|word| word != "rainbow")
            .take_while(|word| !["|", ">>", "&&"].contains(&word.as_str()))
            .collect()
    }

    #[test]
    fn examples_are_understood() {
        for (path, examples) in ALL {
            for (what, line) in *examples {
                // The command line may stand in quotes of the shell.
                let line = line.strip_prefix("echo '").unwrap_or(line);
                let words = words(&line.replace("' >>", " >>"));
                assert!(words.len() > 1, "{line}");
                if let Err(error) = crate::command().try_get_matches_from(&words) {
                    panic!("{line}: {error}");
                }
                let begins = format!("rainbow {path}");
                assert!(words.join(" ").starts_with(&begins), "{line} is no example of {path}");
                assert!(!what.ends_with('.'), "{what}");
            }
        }
    }
}
