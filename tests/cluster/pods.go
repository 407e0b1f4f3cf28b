package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"k8s.io/cri-client/pkg"
)

// removePods stops and removes every Pod of a container runtime, with its network,
// as a drained node would be left. The kubelet must be stopped, or it starts them again.
func removePods(args []string) error {
	flags := flag.NewFlagSet("remove-pods", flag.ContinueOnError)
	endpoint := flags.String("endpoint", "", "the runtime's socket, unix:///path")
	timeout := flags.Duration("timeout", time.Minute, "how long one call may take")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx := context.Background()
	runtime, err := cri.NewRemoteRuntimeService(ctx, *endpoint, *timeout, nil, false)
	if err != nil {
		return fmt.Errorf("cannot reach the container runtime at %s: %w", *endpoint, err)
	}
	containers, err := runtime.ListContainers(ctx, nil)
	if err != nil {
		return fmt.Errorf("cannot list containers: %w", err)
	}
	var failures []error
	for _, container := range containers {
		failures = append(failures, runtime.StopContainer(ctx, container.Id, 0), runtime.RemoveContainer(ctx, container.Id))
	}
	sandboxes, err := runtime.ListPodSandbox(ctx, nil)
	if err != nil {
		return fmt.Errorf("cannot list Pods: %w", err)
	}
	for _, sandbox := range sandboxes {
		failures = append(failures, runtime.StopPodSandbox(ctx, sandbox.Id), runtime.RemovePodSandbox(ctx, sandbox.Id))
	}
	return errors.Join(failures...)
}
