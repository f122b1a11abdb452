//! Tokens of service accounts.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenReview},
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

struct Lab {
    client: Client,
    accounts: Api<ServiceAccount>,
    pods: Api<Pod>,
}

impl Lab {
    async fn new() -> Self {
        let server = pocket_api::Api::new(pocket_api::Options::default()).unwrap();
        let client = server.client("default");
        let lab = Self {
            accounts: Api::namespaced(client.clone(), "default"),
            pods: Api::namespaced(client.clone(), "default"),
            client,
        };
        lab.account("robot").await;
        lab
    }

    async fn account(&self, name: &str) {
        let account = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        self.accounts.create(&PostParams::default(), &account).await.unwrap();
    }

    async fn pod(&self, name: &str, account: &str) -> Pod {
        let pod = json!({"metadata": {"name": name},
            "spec": {"serviceAccountName": account, "containers": [{"name": "c", "image": "app:v1"}]}});
        self.pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap()
    }

    async fn request(&self, spec: Value) -> Result<TokenRequest, String> {
        let request: TokenRequest = serde_json::from_value(json!({"spec": spec})).unwrap();
        let answer = self.accounts.create_token_request("robot", &PostParams::default(), &request).await;
        answer.map_err(|error| error.to_string())
    }

    async fn token(&self, spec: Value) -> String {
        self.request(spec).await.unwrap().status.unwrap().token
    }

    /// Returns the user of a token, or the reason why the token is not valid.
    async fn review(&self, token: &str, audiences: &[&str]) -> Result<String, String> {
        let review = serde_json::from_value(json!({"spec": {"token": token, "audiences": audiences}})).unwrap();
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let status = reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap();
        match status.authenticated {
            Some(true) => Ok(status.user.unwrap().username.unwrap()),
            _ => Err(status.error.unwrap()),
        }
    }
}

const ROBOT: &str = "system:serviceaccount:default:robot";
const GONE: &str = "service account token has been invalidated: what it was bound to is gone";

#[tokio::test]
async fn tokens_name_their_account() {
    let lab = Lab::new().await;
    let answer = lab.request(json!({"audiences": []})).await.unwrap();
    assert_eq!(answer.spec.expiration_seconds, Some(3600));
    assert_eq!(answer.spec.audiences, ["https://kubernetes.default.svc.cluster.local"]);
    let token = answer.status.unwrap().token;
    assert_eq!(lab.review(&token, &[]).await.as_deref(), Ok(ROBOT));
    assert_eq!(lab.review("what", &[]).await.unwrap_err(), "invalid bearer token");
    assert_eq!(lab.review(&token, &["vault"]).await.unwrap_err(), "token audiences do not match");
    let for_vault = lab.token(json!({"audiences": ["vault"]})).await;
    assert_eq!(lab.review(&for_vault, &["vault"]).await.as_deref(), Ok(ROBOT));
    assert!(lab.review(&for_vault, &[]).await.is_err(), "it is not for this server");

    // An account that is created again under the same name is another account.
    lab.accounts.delete("robot", &DeleteParams::default()).await.unwrap();
    assert_eq!(lab.review(&token, &[]).await.unwrap_err(), GONE);
    lab.account("robot").await;
    assert_eq!(lab.review(&token, &[]).await.unwrap_err(), GONE);
}

#[tokio::test]
async fn tokens_of_pods_end_with_them() {
    let lab = Lab::new().await;
    let pod = lab.pod("p", "robot").await;
    let bound = |name: &str, uid: Option<String>| json!({"audiences": [], "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}});
    let token = lab.token(bound("p", pod.uid())).await;
    assert_eq!(lab.review(&token, &[]).await.as_deref(), Ok(ROBOT));
    lab.pod("other", "default").await;
    for (spec, message) in [
        (bound("no", None), "pods \"no\" not found"),
        (bound("p", Some("x".into())), "the UID in the bound object reference (x) does not match the UID in record"),
        (bound("other", None), "cannot bind token for serviceaccount \"robot\" to pod running with different"),
        (json!({"audiences": [], "boundObjectRef": {"kind": "Service", "name": "p"}}), "object of type Service"),
        (json!({"audiences": [], "expirationSeconds": 60}), "may not specify a duration less than 10 minutes"),
        (json!({"audiences": [], "expirationSeconds": 1_i64 << 40}), "larger than 2^32 seconds"),
    ] {
        let error = lab.request(spec.clone()).await.unwrap_err();
        assert!(error.contains(message), "{spec}: {error}");
    }
    lab.pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert_eq!(lab.review(&token, &[]).await.unwrap_err(), GONE);
}
