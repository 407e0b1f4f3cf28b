// Command kube is a Kubernetes cluster in one binary: the store, the control plane,
// the node agent, the clients that tests need, and three small helpers of its own.
// `kube NAME …` runs one of them; called through a link named kubectl or helm it is
// that client. One binary, because all of them share most of their packages.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/etcdmain"
	helm "helm.sh/helm/v4/pkg/cmd"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
	"retryable.dev/tests/cluster/image"
	kwokconfig "sigs.k8s.io/kwok/pkg/config"
	kwok "sigs.k8s.io/kwok/pkg/kwok/cmd"
	kwoklog "sigs.k8s.io/kwok/pkg/log"
	kwoksignals "sigs.k8s.io/kwok/pkg/utils/signals"

	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

const usage = "usage: kube etcd|apiserver|controller-manager|scheduler|kubelet|kubectl|helm|kwok|pki|image|remove-pods ..."

func main() {
	if name := filepath.Base(os.Args[0]); name == "kubectl" || name == "helm" {
		os.Args[0] = name
	} else if len(os.Args) > 1 {
		os.Args = os.Args[1:]
	}
	switch os.Args[0] {
	case "etcd":
		etcdmain.Main(os.Args)
	case "apiserver":
		run(apiserver.NewAPIServerCommand())
	case "controller-manager":
		run(controllermanager.NewControllerManagerCommand())
	case "scheduler":
		run(scheduler.NewSchedulerCommand())
	case "kubelet":
		run(kubelet.NewKubeletCommand(context.Background()))
	case "kubectl":
		run(kubectl.NewDefaultKubectlCommand())
	case "helm":
		command, err := helm.NewRootCmd(os.Stdout, os.Args[1:], helm.SetupLogging)
		check(err)
		check(command.Execute())
	case "kwok":
		check(runKwok())
	case "pki":
		check(writePKI(os.Args[1:]))
	case "image":
		check(image.Main(os.Args[1:]))
	case "remove-pods":
		check(removePods(os.Args[1:]))
	default:
		check(fmt.Errorf("%s", usage))
	}
}

func run(command *cobra.Command) { os.Exit(cli.Run(command)) }

func runKwok() error {
	flags := pflag.NewFlagSet("global", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.Usage = func() {}
	ctx, _ := kwoklog.InitFlags(kwoksignals.SetupSignalContext(), flags)
	ctx, err := kwokconfig.InitFlags(ctx, flags)
	if err != nil {
		return err
	}
	command := kwok.NewCommand(ctx)
	command.Version = "" // the flag --version is already defined by the control plane's packages
	command.PersistentFlags().AddFlagSet(flags)
	return command.ExecuteContext(ctx)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
