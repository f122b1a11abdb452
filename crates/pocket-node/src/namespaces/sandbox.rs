//! Namespaces of a pod, held by descriptors alone; no process of the pod has to stay.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::{
    net::SendFlags,
    process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
    system::sethostname,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{
    channel,
    forker::{Forker, namespace},
    protocol::{Failure, Report, SandboxRequest},
    sys::{self, Forked, New},
};
use crate::network::setup;

pub(crate) fn make(forker: &Forker, request: &SandboxRequest, report: BorrowedFd<'_>) -> Result<(), Failure> {
    let new = New { user: true, network: true, host_name: true, ipc: true, ..New::default() };
    match sys::fork(&forker.alone, new).map_err(Failure::node("make the pod's namespaces"))? {
        // The child only has to exist until its namespaces are open.
        Forked::Child => loop {
            std::thread::park();
        },
        Forked::Parent { pid, pidfd } => {
            let made = (|| {
                forker.ids.map(pid, 0, 0).map_err(Failure::node("map the pod's ids"))?;
                let process = pid.as_raw_nonzero().to_string();
                let user = namespace(&process, "user")?;
                let network = namespace(&process, "net")?;
                let host_name = namespace(&process, "uts")?;
                let ipc = namespace(&process, "ipc")?;
                setup::pod(forker.bridge, &request.interface, request.ip, network.as_fd())
                    .map_err(|(what, error)| Failure::node(what)(error))?;
                move_into_link_name_space(host_name.as_fd(), Some(LinkNameSpaceType::HostNameAndNISDomainName))
                    .map_err(Failure::call("enter the pod's host name namespace"))?;
                sethostname(request.hostname.as_bytes()).map_err(Failure::call("set the pod's host name"))?;
                let fds = [user.as_fd(), network.as_fd(), host_name.as_fd(), ipc.as_fd()];
                channel::send(report, &Report::Sandbox, &fds, SendFlags::empty())
                    .map_err(Failure::node("report the pod's namespaces"))
            })();
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            made
        }
    }
}
