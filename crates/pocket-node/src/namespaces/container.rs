//! Start of a container in a pod's namespaces, and of further programs in a container.
//!
//! Every container has its own mount and pid namespaces, so its program is process 1 and gets signals as on any
//! other Kubernetes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    net::SendFlags,
    process::{ioctl_tiocsctty, setsid},
    thread::{LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces},
};

use super::{
    channel,
    forker::Forker,
    program::{self, Streams},
    protocol::{ExecRequest, Failure, Report, StartRequest},
    rootfs,
    sys::{self, Forked, New},
};

/// Starts a container. `fds`: the pod's user, network, host name and IPC namespaces; standard output and error.
pub(crate) fn start(
    forker: &Forker,
    request: &StartRequest,
    fds: [OwnedFd; 6],
    report: BorrowedFd<'_>,
) -> Result<(), Failure> {
    let [user, network, host_name, ipc, stdout, stderr] = fds;
    // The user namespace comes first, since it brings the capabilities for the others.
    for (fd, kind) in [
        (&user, LinkNameSpaceType::User),
        (&network, LinkNameSpaceType::Network),
        (&host_name, LinkNameSpaceType::HostNameAndNISDomainName),
        (&ipc, LinkNameSpaceType::InterProcessCommunication),
    ] {
        move_into_link_name_space(fd.as_fd(), Some(kind)).map_err(Failure::call("enter the pod's namespaces"))?;
    }
    drop((user, network, host_name, ipc));

    let new = New { mount: true, pid: true, ..New::default() };
    match sys::fork(&forker.alone, new).map_err(Failure::node("make the container's namespaces"))? {
        Forked::Parent { pidfd, .. } => started(report, &pidfd),
        Forked::Child => {
            let _ = setsid();
            rootfs::enter(&request.root, &request.mounts)?;
            program::enter_directory(&request.program.working_dir)?;
            if request.root.read_only {
                rootfs::make_root_read_only()?;
            }
            forker.ids.assume(&forker.alone, &request.program)?;
            Err(program::execute(&request.program, Streams { stdin: None, stdout, stderr }))
        }
    }
}

/// Runs a further program in a container. `fds`: the container's first process; standard input, output and error.
pub(crate) fn exec(
    forker: &Forker,
    request: &ExecRequest,
    fds: [OwnedFd; 4],
    report: BorrowedFd<'_>,
) -> Result<(), Failure> {
    let [target, stdin, stdout, stderr] = fds;
    let all = ThreadNameSpaceType::USER
        | ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION;
    move_into_thread_name_spaces(target.as_fd(), all).map_err(|error| match error {
        rustix::io::Errno::SRCH => Failure::Container("the container is not running".to_owned()),
        error => Failure::call("enter the container's namespaces")(error),
    })?;
    drop(target);

    match sys::fork(&forker.alone, New::default()).map_err(Failure::node("fork in the container"))? {
        Forked::Parent { pidfd, .. } => started(report, &pidfd),
        Forked::Child => {
            setsid().map_err(Failure::call("start a session"))?;
            if request.tty {
                ioctl_tiocsctty(&stdin).map_err(Failure::call("take the terminal"))?;
            }
            program::enter_directory(&request.program.working_dir)?;
            forker.ids.join(&request.program)?;
            Err(program::execute(&request.program, Streams { stdin: Some(stdin), stdout, stderr }))
        }
    }
}

fn started(report: BorrowedFd<'_>, process: &OwnedFd) -> Result<(), Failure> {
    channel::send(report, &Report::Started, &[process.as_fd()], SendFlags::empty())
        .map_err(Failure::node("report the program's process"))
}
