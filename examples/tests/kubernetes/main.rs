//! The manifests of `examples/kubernetes`: built by kustomize, held against the schemas of Kubernetes and of the custom
//! resources, against each other, and against the programs, which are started with exactly what the manifests say.
//! No cluster is asked: what an API server, a scheduler or a kubelet would make of them beyond that is not shown here.

mod autoscaling;
mod faults;
mod limits;
mod manifests;
mod monitors;
mod network;
mod pods;
mod references;
mod schemas;
