//! Gates: the checks that a plan asks for are measured, judged, and their outcomes are given to the next plan.

mod answer;
mod freeze;
mod job;
mod job_manifest;
mod manual;
mod pods;
mod traffic;
mod traffic_reply;
