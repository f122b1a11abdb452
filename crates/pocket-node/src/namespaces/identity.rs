//! User and group ids, and capabilities.

use std::{fs, io};

use rustix::{
    process::{Gid, Pid, Uid},
    thread::{self, CapabilitySet, CapabilitySets},
};

use super::{
    protocol::{Failure, Program},
    sys::{self, SingleThreaded},
};

/// Ids that exist inside the namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// Ids 0 to 65535, each the same outside: real root started the daemon.
    Range,
    /// Id 0 only, which is the user who started the daemon. A container with another id gets a user namespace of its own, in
    /// which only that id exists.
    Single,
}

/// Capabilities that Kubernetes' container runtimes leave to a container.
const DEFAULT_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

impl Ids {
    /// Maps the ids of a process in a new user namespace. Run by its parent, outside.
    pub(crate) fn map(self, pid: Pid, outer_uid: u32, outer_gid: u32) -> io::Result<()> {
        let write = |name: &str, text: String| {
            fs::write(format!("/proc/{}/{name}", pid.as_raw_nonzero()), text)
                .map_err(|error| io::Error::new(error.kind(), format!("/proc/…/{name}: {error}")))
        };
        match self {
            Self::Range => {
                write("uid_map", "0 0 65536".to_owned())?;
                write("gid_map", "0 0 65536".to_owned())
            }
            Self::Single => {
                write("setgroups", "deny".to_owned())?;
                write("uid_map", format!("0 {outer_uid} 1"))?;
                write("gid_map", format!("0 {outer_gid} 1"))
            }
        }
    }

    /// Becomes the program's user, for good. Run in the container, in its own user namespace.
    pub(crate) fn assume(self, alone: &SingleThreaded, program: &Program) -> Result<(), Failure> {
        let (uid, gid) = (program.uid, program.gid);
        if self == Self::Range && (uid > 65535 || gid > 65535) {
            return Err(Failure::Container(format!("user {uid}:{gid} is beyond 65535, the last id on this node")));
        }
        if self == Self::Single && (uid, gid) != (0, 0) {
            sys::unshare_user(alone).map_err(Failure::node("make a user namespace for the container's user"))?;
            for (name, text) in
                [("setgroups", "deny".to_owned()), ("uid_map", format!("{uid} 0 1")), ("gid_map", format!("{gid} 0 1"))]
            {
                fs::write(format!("/proc/self/{name}"), text)
                    .map_err(Failure::node(format!("write /proc/self/{name} for user {uid}:{gid}")))?;
            }
        }
        bound_capabilities()?;
        if self == Self::Range {
            thread::set_thread_groups(&[]).map_err(Failure::call("drop the groups"))?;
            let (gid, uid) = (Gid::from_raw(gid), Uid::from_raw(uid));
            thread::set_thread_res_gid(gid, gid, gid).map_err(Failure::call("set the group"))?;
            thread::set_thread_res_uid(uid, uid, uid).map_err(Failure::call("set the user"))?;
        }
        drop_capabilities(uid)
    }

    /// Becomes the user of a further program in a container, whose user namespace this process has joined.
    pub(crate) fn join(self, program: &Program) -> Result<(), Failure> {
        bound_capabilities()?;
        if self == Self::Range {
            thread::set_thread_groups(&[]).map_err(Failure::call("drop the groups"))?;
            let (gid, uid) = (Gid::from_raw(program.gid), Uid::from_raw(program.uid));
            thread::set_thread_res_gid(gid, gid, gid).map_err(Failure::call("set the group"))?;
            thread::set_thread_res_uid(uid, uid, uid).map_err(Failure::call("set the user"))?;
        }
        drop_capabilities(program.uid)
    }
}

/// Makes everything but the default set unreachable, also for set-uid programs.
fn bound_capabilities() -> Result<(), Failure> {
    const LAST: u32 = 63;
    for bit in 0..=LAST {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if DEFAULT_CAPABILITIES.contains(capability) {
            continue;
        }
        match thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Beyond the last one this kernel knows.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(Failure::call("drop capabilities")(error)),
        }
    }
    Ok(())
}

fn drop_capabilities(uid: u32) -> Result<(), Failure> {
    let what = "set capabilities";
    thread::clear_ambient_capability_set().map_err(Failure::call(what))?;
    let keep = if uid == 0 { DEFAULT_CAPABILITIES } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    thread::set_capabilities(None, sets).map_err(Failure::call(what))?;
    thread::set_no_new_privs(true).map_err(Failure::call("set no_new_privs"))
}
