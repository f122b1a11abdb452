//! Building from Dockerfiles.

use std::{fs, os::unix::fs::PermissionsExt};

use pocket_image::Builder;

use super::Bench;

#[test]
fn an_image_has_what_its_dockerfile_says() {
    let bench = Bench::new();
    let program = bench.file("bin/app", "program");
    fs::set_permissions(program, fs::Permissions::from_mode(0o700)).unwrap();
    bench.file("conf/a.txt", "a");
    bench.file("conf/sub/b.txt", "b");
    let built = bench
        .build(
            "ARG TOP=scratch\nFROM ${TOP}\nARG VERSION=v0\nENV VERSION=$VERSION GREETING=\"hello world\"\n\
             COPY bin/app /\nCOPY --chmod=750 conf /etc/conf/\nWORKDIR /var/data\nCOPY conf/a.txt .\nCOPY conf/a.txt renamed\n\
             LABEL a=b \"c d\"=e\nEXPOSE 8080 53/udp\nUSER 1000:1000\nVOLUME [\"/var/data\"]\nSTOPSIGNAL SIGINT\n\
             HEALTHCHECK NONE\nENTRYPOINT [\"/app\"]\nCMD [\"--serve\"]\n",
        )
        .unwrap();
    assert_eq!(
        bench.tree(&built.image),
        [
            "app 755 program",
            "etc/ 755",
            "etc/conf/ 750",
            "etc/conf/a.txt 750 a",
            "etc/conf/sub/ 750",
            "etc/conf/sub/b.txt 750 b",
            "var/ 755",
            "var/data/ 755",
            "var/data/a.txt 644 a",
            "var/data/renamed 644 a",
        ]
    );
    let config = &built.image.config;
    assert_eq!(config.env[1..], ["VERSION=v0", "GREETING=hello world"]);
    assert!(config.env[0].starts_with("PATH=/usr/local/sbin"));
    assert_eq!(
        (config.entrypoint.as_slice(), config.cmd.as_slice()),
        (&["/app".to_owned()][..], &["--serve".to_owned()][..])
    );
    assert_eq!(
        (config.working_dir.as_str(), config.user.as_str(), config.stop_signal.as_str()),
        ("/var/data", "1000:1000", "SIGINT")
    );
    assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["53/udp", "8080/tcp"]);
    assert_eq!(config.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["a=b", "c d=e"]);
    assert_eq!(
        built.warnings,
        ["Dockerfile:15: HEALTHCHECK is ignored, as Kubernetes ignores it: use a livenessProbe in the pod"]
    );
}

#[test]
fn the_same_input_gives_the_same_image() {
    let (one, two) = (Bench::new(), Bench::new());
    let ids: Vec<_> = [&one, &two]
        .into_iter()
        .map(|bench| {
            bench.file("z", "z");
            bench.file("a/b", "b");
            bench.build("FROM scratch\nCOPY . /\nCMD z").unwrap().image.manifest
        })
        .collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn build_arguments_and_bases() {
    let bench = Bench::new();
    bench.file("Dockerfile", "FROM scratch\nARG VERSION=v0\nENV VERSION=${VERSION:-none}\nCOPY Dockerfile /etc/base/\nENTRYPOINT [\"a\"]\nCMD [\"b\"]");
    let builder = Builder {
        context: bench.context(),
        build_args: vec![("VERSION".to_owned(), "v2".to_owned()), ("TYPO".to_owned(), String::new())],
        tags: vec!["base:v2".to_owned(), "other/base".to_owned()],
        ..Builder::default()
    };
    let base = builder.build(&bench.store).unwrap();
    assert_eq!(base.image.config.env[1], "VERSION=v2");
    assert_eq!(base.warnings, ["Dockerfile: build argument TYPO has no ARG"]);
    assert_eq!(bench.store.resolve("other/base").unwrap().id, base.image.id);

    bench.file("x", "x");
    let built = bench.build("FROM base:v2 AS only\nENV VERSION=v3\nCOPY x /etc/base\nENTRYPOINT [\"c\"]\n").unwrap();
    assert_eq!(built.image.layers[..1], base.image.layers);
    assert_eq!((built.image.config.env[1].as_str(), built.image.config.cmd.len()), ("VERSION=v3", 0));
    // `/etc/base` is a directory in the base, so the file goes into it.
    assert!(bench.tree(&built.image).contains(&"etc/base/x 644 x".to_owned()));
}

#[test]
fn ignored_files_are_left_out() {
    let bench = Bench::new();
    for path in ["keep", "target/debug/x", "docs/a.md", "docs/b.txt", "docs/keep.md"] {
        bench.file(path, "");
    }
    bench.file(".dockerignore", "# build output\ntarget\n**/*.md\n!docs/keep.md\nDockerfile\n.dockerignore\n");
    let built = bench.build("FROM scratch\nCOPY . /\n").unwrap();
    assert_eq!(bench.tree(&built.image), ["docs/ 755", "docs/b.txt 644 ", "docs/keep.md 644 ", "keep 644 "]);
    let error = bench.build("FROM scratch\nCOPY target /\n").unwrap_err();
    assert_eq!(error.to_string(), "Dockerfile:2: `target` is excluded by .dockerignore");
}

#[test]
fn patterns_match_and_links_stay_links() {
    let bench = Bench::new();
    bench.file("a.conf", "a");
    bench.file("b.conf", "b");
    bench.file("d/c", "c");
    std::os::unix::fs::symlink("c", bench.context().join("d/link")).unwrap();
    let built = bench.build("FROM scratch\nCOPY *.conf d /etc/\n").unwrap();
    assert_eq!(
        bench.tree(&built.image),
        ["etc/ 755", "etc/a.conf 644 a", "etc/b.conf 644 b", "etc/c 644 c", "etc/link -> c"]
    );
}

#[track_caller]
fn refused(dockerfile: &str, message: &str) {
    let bench = Bench::new();
    bench.file("f", "");
    bench.file("g", "");
    std::os::unix::fs::symlink("/etc/passwd", bench.context().join("out")).unwrap();
    let error = bench.build(dockerfile).unwrap_err().to_string();
    let root = bench.context().canonicalize().unwrap();
    assert_eq!(error.replace(root.to_str().unwrap(), "CONTEXT"), message);
    assert!(bench.store.list().unwrap().is_empty(), "nothing is half done");
}

#[test]
fn what_cannot_be_built_is_refused_with_the_line() {
    refused("CMD x", "Dockerfile:1: CMD before FROM: the file starts with `FROM scratch`, for example");
    refused("ARG X=1", "Dockerfile:1: the file has no FROM: it starts with `FROM scratch`, for example");
    refused(
        "FROM scratch\n\nRUN make \\\n all",
        "Dockerfile:3: RUN is not supported, because images are put together here without running anything: \
         do the step before the build and COPY its result",
    );
    refused(
        "FROM scratch\nFROM scratch",
        "Dockerfile:2: only one FROM is supported, because nothing is compiled here: build the program first, then COPY it",
    );
    refused(
        "FROM alpine",
        "Dockerfile:1: image `alpine` is not in the local store, and nothing is downloaded: load it first (`rainbow image load FILE`)",
    );
    refused(
        "FROM Alpine:v1",
        "Dockerfile:1: `Alpine:v1` is no image reference: a repository's name must be lower case",
    );
    refused("FROM scratch\nCOPY missing /", "Dockerfile:2: `missing` does not exist in the build context CONTEXT");
    refused("FROM scratch\nCOPY *.no /", "Dockerfile:2: `*.no` matches nothing in the build context CONTEXT");
    refused(
        "FROM scratch\nCOPY ../../etc/passwd /",
        "Dockerfile:2: `../../etc/passwd` is outside the build context: COPY takes files below CONTEXT only",
    );
    refused(
        "FROM scratch\nCOPY out /",
        "Dockerfile:2: `out` is a link out of the build context: copy what it points at into the context",
    );
    refused("FROM scratch\nCOPY f", "Dockerfile:2: COPY needs at least one source and a destination");
    refused(
        "FROM scratch\nCOPY f g /x",
        "Dockerfile:2: with several sources the destination must be a directory: write `/x/`",
    );
    refused("FROM scratch\nCOPY f /../../x", "Dockerfile:2: `/../../x` is above the root of the image");
    refused("FROM scratch\nCOPY --chmod=9 f /", "Dockerfile:2: --chmod needs an octal mode, as 755, not `9`");
    refused(
        "FROM scratch\nCOPY --chown=app f /",
        "Dockerfile:2: --chown needs numbers, as 1000:1000, not `app`: no program runs that knows names",
    );
    refused("FROM scratch\nENV X", "Dockerfile:2: ENV needs NAME=value");
    refused("FROM scratch\nENV =x", "Dockerfile:2: ENV needs NAME=value; `` is no name");
    refused(
        "FROM scratch\nEXPOSE web",
        "Dockerfile:2: EXPOSE needs a port from 1 to 65535, as `80` or `53/udp`, not `web`",
    );
    refused(
        "FROM scratch\nADD https://example.com/x /",
        "Dockerfile:2: ADD of a URL is not supported, because nothing is downloaded: download it first and COPY it",
    );
    refused(
        "FROM scratch\nINCLUDE x",
        "Dockerfile:2: unknown instruction INCLUDE; there are FROM, ARG, ENV, COPY, ADD, WORKDIR, USER, ENTRYPOINT, CMD, \
         SHELL, EXPOSE, VOLUME, LABEL and STOPSIGNAL",
    );
}
