//! Which cluster is meant, and as whom, by the options that people know of kubectl.

use clap::Args;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::PathBuf;

#[derive(Debug, Default, Args)]
pub(super) struct KubeconfigArgs {
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

impl KubeconfigArgs {
    /// The contexts of the kubeconfig; none if it cannot be read.
    pub(super) fn contexts(&self) -> Vec<String> {
        let read = self.kubeconfig.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from);
        read.map(|read| read.contexts.into_iter().map(|context| context.name).collect()).unwrap_or_default()
    }

    /// The options by which a command that somebody copies means the same cluster and user, such as `--context prod`.
    pub(super) fn options(&self) -> String {
        let Self { context, kubeconfig, act_as } = self;
        let kubeconfig = kubeconfig.as_ref().and_then(|file| file.to_str());
        [("--context", context.as_deref()), ("--kubeconfig", kubeconfig), ("--as", act_as.as_deref())]
            .into_iter()
            .filter_map(|(option, value)| Some(format!("{option} {}", shlex::try_quote(value?).ok()?)))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Without options, the environment's: that of kubectl, or that of the Pod.
    ///
    /// # Errors
    /// Why there is none that can be used.
    pub(super) async fn config(&self) -> Result<Config, String> {
        let mut config = self.read().await?;
        if self.act_as.is_some() {
            config.auth_info.impersonate.clone_from(&self.act_as);
        }
        Ok(config)
    }

    async fn read(&self) -> Result<Config, String> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        if let Some(file) = &self.kubeconfig {
            let read = Kubeconfig::read_from(file).map_err(|error| error.to_string())?;
            return Config::from_custom_kubeconfig(read, &options).await.map_err(|error| error.to_string());
        }
        if self.context.is_some() {
            return Config::from_kubeconfig(&options).await.map_err(|error| error.to_string());
        }
        Config::infer().await.map_err(|error| error.to_string())
    }
}
