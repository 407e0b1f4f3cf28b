//! The cluster: kubeconfig, context, namespaces.

use super::error::Error;
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::PathBuf;
use std::time::Duration;

/// Time to open a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Connection {
    /// Namespaces, separated by commas; that of the context if not given
    #[arg(long, short, global = true, value_delimiter = ',', value_name = "NAMESPACE", help_heading = "Cluster")]
    pub(super) namespace: Vec<String>,

    /// All namespaces that you may see
    #[arg(long, short = 'A', global = true, conflicts_with = "namespace", help_heading = "Cluster")]
    all_namespaces: bool,

    /// The context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    context: Option<String>,

    /// The kubeconfig; $KUBECONFIG or ~/.kube/config if not given
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    kubeconfig: Option<PathBuf>,

    /// The user to act as
    #[arg(long = "as", global = true, value_name = "USER", help_heading = "Cluster")]
    act_as: Option<String>,
}

/// A cluster, and the namespaces that are meant.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) scope: Scope,
}

/// Which namespaces are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    Namespaces(Vec<String>),
}

impl Connection {
    /// That of the kubeconfig's current context.
    pub(super) fn of_context() -> Self {
        Self { namespace: Vec::new(), all_namespaces: false, context: None, kubeconfig: None, act_as: None }
    }

    /// Reads the kubeconfig. Nothing is sent yet.
    pub(super) async fn connect(&self) -> Result<Cluster, Error> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT_LIMIT);
        // What is retried, and for how long, is decided by each verb.
        config.default_retry = false;
        if self.act_as.is_some() {
            config.auth_info.impersonate.clone_from(&self.act_as);
        }
        let scope = match (self.all_namespaces, self.namespace.is_empty()) {
            (true, _) => Scope::All,
            (false, true) => Scope::Namespaces(vec![config.default_namespace.clone()]),
            (false, false) => Scope::Namespaces(self.namespace.clone()),
        };
        let client = Client::try_from(config).map_err(|error| Error::Config(error.to_string()))?;
        Ok(Cluster { client, scope })
    }

    async fn config(&self) -> Result<Config, Error> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let wrong = |error: &dyn std::error::Error| Error::Config(error.to_string());
        if let Some(file) = &self.kubeconfig {
            let read = Kubeconfig::read_from(file).map_err(|error| wrong(&error))?;
            return Config::from_custom_kubeconfig(read, &options).await.map_err(|error| wrong(&error));
        }
        if self.context.is_some() {
            return Config::from_kubeconfig(&options).await.map_err(|error| wrong(&error));
        }
        Config::infer().await.map_err(|error| wrong(&error))
    }
}

impl Cluster {
    /// The one namespace in which an object is named.
    pub(super) fn namespace(&self) -> Result<&str, Error> {
        match &self.scope {
            Scope::Namespaces(namespaces) if namespaces.len() == 1 => {
                Ok(namespaces.first().map(String::as_str).unwrap_or_default())
            }
            Scope::Namespaces(_) | Scope::All => {
                Err(Error::Usage("a name is that of one namespace: give that one with -n".into()))
            }
        }
    }

    /// Whether the namespace is worth a column.
    pub(super) fn has_many(&self) -> bool {
        !matches!(&self.scope, Scope::Namespaces(namespaces) if namespaces.len() == 1)
    }
}
