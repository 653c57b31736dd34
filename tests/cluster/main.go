// Command cluster is Kubernetes' control plane in one static binary: its first argument picks the program.
//
// The tests run etcd, kube-apiserver and kube-controller-manager from it as processes of their own, so that each
// can be stopped, killed and started again alone, and use its kubectl for what a person would type.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	if len(os.Args) < 2 {
		fail("no program named")
	}
	name := os.Args[1]
	os.Args = os.Args[1:]

	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		run(controllers.NewControllerManagerCommand())
	case "kubectl":
		run(kubectl.NewDefaultKubectlCommand())
	default:
		fail(fmt.Sprintf("no program %q", name))
	}
}

func run(command *cobra.Command) {
	os.Exit(cli.Run(command))
}

func fail(problem string) {
	fmt.Fprintf(os.Stderr, "cluster: %s: wanted etcd, kube-apiserver, kube-controller-manager or kubectl\n", problem)
	os.Exit(2)
}
