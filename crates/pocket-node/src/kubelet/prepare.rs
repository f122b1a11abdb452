//! Preparation of a container: from its definition and its image to the specification for the runtime.

use std::{collections::BTreeMap, fs, io, os::unix::fs::PermissionsExt, path::PathBuf};

use k8s_openapi::api::core::v1::{Container as ContainerDef, Pod};

use super::{pod_context::PodContext, tracker::Place};
use crate::{
    cluster::Service,
    env::{self, expand},
    runtime::{ContainerSpec, ImageDefaults, Mount, Runtime, RuntimeError},
    sync::lock,
    volumes,
    watch::Key,
};

/// Reason why a container cannot be started (yet).
#[derive(Debug)]
pub(super) enum Obstacle {
    /// The image is missing, and the pod forbids pulling it.
    NeverPull,
    /// The image is missing.
    NoImage(String),
    /// An object or value that the container refers to is wrong or missing: `CreateContainerConfigError`.
    Config(String),
    /// The node has failed: `CreateContainerError`.
    Node(String),
}

/// Specification to start, and the facts about it that the status reports.
pub(super) struct Prepared {
    pub(super) spec: ContainerSpec,
    pub(super) image_id: String,
    /// File for the container's termination message.
    pub(super) last_words: PathBuf,
}

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Prepares the start of a container.
pub(super) async fn prepare<R: Runtime>(
    context: &PodContext<R>,
    place: Place,
    attempt: i32,
) -> Result<Prepared, Obstacle> {
    let pod = context.effective();
    let definition = context.definition(place).ok_or_else(|| Obstacle::Config("no such container".into()))?;
    let image_name = definition.image.clone().unwrap_or_default();
    let image = match context.node.runtime.image(&image_name).await {
        Ok(image) => image,
        Err(error @ RuntimeError::ImageNotFound(_)) => {
            return Err(match definition.image_pull_policy.as_deref() {
                Some("Never") => Obstacle::NeverPull,
                _ => Obstacle::NoImage(error.to_string()),
            });
        }
        Err(error) => return Err(Obstacle::Node(error.to_string())),
    };
    let (uid, gid) = user(&pod, &definition, &image).map_err(Obstacle::Config)?;

    let sources = volumes::fetch(&context.node.client, &context.key.namespace, env::references(&definition))
        .await
        .map_err(|error| Obstacle::Config(error.to_string()))?;
    let services = env::service_variables(linked(context, &pod).iter().map(AsRef::as_ref));
    let own = env::container(&pod, &definition, &context.facts(), services, &sources)
        .map_err(|error| Obstacle::Config(error.to_string()))?;
    let argv = argv(&definition, &image, &own);
    if argv.is_empty() {
        return Err(Obstacle::Config(format!(
            "no command specified: image {image_name} has none, and neither has the container"
        )));
    }

    let mut mounts = volumes::mounts(&definition, &lock(&context.volumes), &own).map_err(|error| {
        Obstacle::Config(format!("failed to prepare volumes for container \"{}\": {error}", definition.name))
    })?;
    let last_words = context.dir().join("containers").join(&definition.name).join(format!("{attempt}.words"));
    let target = definition.termination_message_path.clone().unwrap_or_else(|| "/dev/termination-log".into());
    touch(&last_words).map_err(|error| Obstacle::Node(format!("{}: {error}", last_words.display())))?;
    for (source, target) in [
        (context.dir().join("hosts"), "/etc/hosts"),
        (context.dir().join("hostname"), "/etc/hostname"),
        (context.dir().join("resolv.conf"), "/etc/resolv.conf"),
        (last_words.clone(), target.as_str()),
    ] {
        if !mounts.iter().any(|mount| mount.target == target) {
            mounts.push(Mount { source, target: target.into(), read_only: false });
        }
    }
    // Parent paths sort first, so deeper mounts go on top.
    mounts.sort_by(|a, b| a.target.cmp(&b.target));

    let logs = context.log_dir().join(&definition.name);
    // Only the log of the previous run is kept.
    for old in [format!("{}.log", attempt - 2), format!("{}.log.1", attempt - 2)] {
        if let Err(error) = fs::remove_file(logs.join(old))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "old log not removed");
        }
    }
    let spec = ContainerSpec {
        name: definition.name.clone(),
        image: image_name,
        argv,
        env: whole_env(&image, own, &context.hostname(), uid),
        working_dir: definition
            .working_dir
            .clone()
            .filter(|dir| !dir.is_empty())
            .or_else(|| Some(image.working_dir.clone()).filter(|dir| !dir.is_empty()))
            .unwrap_or_else(|| "/".into()),
        uid,
        gid,
        read_only_root: definition.security_context.as_ref().and_then(|s| s.read_only_root_filesystem) == Some(true),
        mounts,
        log: logs.join(format!("{attempt}.log")),
    };
    Ok(Prepared { spec, image_id: image.id, last_words })
}

/// Creates an empty file that every user may write to.
fn touch(path: &std::path::Path) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(path, "")?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

/// Returns the Services that a container's variables describe: those of its namespace if it wants links, and always `kubernetes`.
fn linked<R: Runtime>(context: &PodContext<R>, pod: &Pod) -> Vec<std::sync::Arc<Service>> {
    let master = Key::new("default", "kubernetes");
    let mut services: Vec<_> = context.node.cluster.service(&master).into_iter().collect();
    if pod.spec.as_ref().and_then(|spec| spec.enable_service_links) != Some(false) {
        let own = context.node.cluster.services_in(&context.key.namespace);
        services.extend(own.into_iter().filter(|service| service.key != master));
    }
    services
}

/// Returns the program: `command` replaces the image's entry point and drops its arguments, `args` replaces its arguments.
fn argv(definition: &ContainerDef, image: &ImageDefaults, env: &BTreeMap<String, String>) -> Vec<String> {
    let expanded = |list: &Option<Vec<String>>| {
        list.as_ref()
            .filter(|list| !list.is_empty())
            .map(|list| list.iter().map(|text| expand(text, env)).collect::<Vec<_>>())
    };
    match (expanded(&definition.command), expanded(&definition.args)) {
        (Some(command), args) => command.into_iter().chain(args.unwrap_or_default()).collect(),
        (None, Some(args)) => image.entrypoint.iter().cloned().chain(args).collect(),
        (None, None) => image.entrypoint.iter().chain(&image.cmd).cloned().collect(),
    }
}

/// Merges the image's variables, the container's over them, and the variables that every program expects.
fn whole_env(
    image: &ImageDefaults,
    own: BTreeMap<String, String>,
    hostname: &str,
    uid: u32,
) -> BTreeMap<String, String> {
    let mut env =
        BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned()), ("HOSTNAME".to_owned(), hostname.to_owned())]);
    env.insert("HOME".into(), if uid == 0 { "/root" } else { "/" }.into());
    env.extend(
        image
            .env
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    env.extend(own);
    env
}

/// Returns user and group ids: the container's, else the pod's, else the image's.
fn user(pod: &Pod, definition: &ContainerDef, image: &ImageDefaults) -> Result<(u32, u32), String> {
    let own = definition.security_context.clone().unwrap_or_default();
    let pods = pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    let id = |value: i64, what: &str| u32::try_from(value).map_err(|_| format!("{what} {value} is out of range"));
    let (image_user, image_group) = image.user.split_once(':').unwrap_or((&image.user, ""));
    let asked = own.run_as_user.or(pods.run_as_user);
    let uid = match asked {
        Some(uid) => id(uid, "runAsUser")?,
        None => numeric(image_user).ok_or_else(|| {
            format!("image has non-numeric user ({image_user}): set securityContext.runAsUser to its number")
        })?,
    };
    let gid = match own.run_as_group.or(pods.run_as_group) {
        Some(gid) => id(gid, "runAsGroup")?,
        None if asked.is_some() && image_user != uid.to_string() => 0,
        None => numeric(image_group).unwrap_or(0),
    };
    if own.run_as_non_root.or(pods.run_as_non_root) == Some(true) && uid == 0 {
        return Err(match asked {
            Some(_) => "container's runAsUser breaks non-root policy".to_owned(),
            None => "container has runAsNonRoot and image will run as root".to_owned(),
        });
    }
    Ok((uid, gid))
}

fn numeric(user: &str) -> Option<u32> {
    match user {
        "" | "root" => Some(0),
        "nobody" | "nogroup" => Some(65_534),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn image() -> ImageDefaults {
        ImageDefaults {
            entrypoint: vec!["/app".into()],
            cmd: vec!["serve".into()],
            env: vec!["V=1".into(), "PATH=/bin".into()],
            user: "1000:2000".into(),
            ..ImageDefaults::default()
        }
    }

    fn definition(value: serde_json::Value) -> ContainerDef {
        let mut value = value;
        value["name"] = json!("c");
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn programs() {
        let env = BTreeMap::from([("X".to_owned(), "x".to_owned())]);
        for (value, expected) in [
            (json!({}), "/app serve"),
            (json!({"args": ["a", "$(X)"]}), "/app a x"),
            (json!({"command": ["/other"]}), "/other"),
            (json!({"command": ["/other"], "args": ["$$(X)"]}), "/other $(X)"),
            (json!({"command": [], "args": []}), "/app serve"),
        ] {
            assert_eq!(argv(&definition(value.clone()), &image(), &env).join(" "), expected, "{value}");
        }
    }

    #[test]
    fn environments() {
        let own = BTreeMap::from([("V".to_owned(), "2".to_owned())]);
        let env = whole_env(&image(), own, "p", 0);
        assert_eq!((env["V"].as_str(), env["PATH"].as_str()), ("2", "/bin"));
        assert_eq!((env["HOSTNAME"].as_str(), env["HOME"].as_str()), ("p", "/root"));
    }

    #[test]
    fn users() {
        let by_name = ImageDefaults { user: "app".into(), ..image() };
        let root = ImageDefaults { user: String::new(), ..image() };
        for (own, pods, image, expected) in [
            (json!({}), json!({}), image(), Ok((1000, 2000))),
            (json!({"runAsUser": 5}), json!({"runAsUser": 6, "runAsGroup": 7}), image(), Ok((5, 7))),
            (json!({"runAsUser": 5}), json!({}), image(), Ok((5, 0))),
            (json!({}), json!({}), root.clone(), Ok((0, 0))),
            (
                json!({}),
                json!({"runAsNonRoot": true}),
                root,
                Err("container has runAsNonRoot and image will run as root"),
            ),
            (
                json!({"runAsUser": 0, "runAsNonRoot": true}),
                json!({}),
                image(),
                Err("container's runAsUser breaks non-root policy"),
            ),
            (
                json!({}),
                json!({}),
                by_name,
                Err("image has non-numeric user (app): set securityContext.runAsUser to its number"),
            ),
            (json!({"runAsUser": -1}), json!({}), image(), Err("runAsUser -1 is out of range")),
        ] {
            let pod: Pod =
                serde_json::from_value(json!({"spec": {"containers": [], "securityContext": pods}})).unwrap();
            let answer = user(&pod, &definition(json!({"securityContext": own})), &image);
            assert_eq!(answer.as_ref().copied().map_err(String::as_str), expected, "{own}");
        }
    }
}
