package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

const (
	namespace = "status-updates"
	warmUp    = 50
	updates   = 400
)

var (
	definitions = schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	}
	tasks = schema.GroupVersionResource{Group: "retryable.dev", Version: "v1alpha1", Resource: "retryabletasks"}
)

// real measures the processor time of a real API server for status updates under each of the definitions, in turns.
func real(ctx context.Context, paths []string, task []byte, rounds int) error {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	metrics, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	took := map[string][]float64{}
	for range rounds {
		for _, path := range paths {
			if err := install(ctx, client, path); err != nil {
				return err
			}
			for _, length := range lengths {
				ms, err := statusUpdates(ctx, client, metrics, task, length)
				if err != nil {
					return err
				}
				row := fmt.Sprintf("%s, %d entries", path, length)
				took[row] = append(took[row], ms)
			}
		}
	}
	for _, path := range paths {
		for _, length := range lengths {
			row := fmt.Sprintf("%s, %d entries", path, length)
			each := took[row]
			slices.Sort(each)
			fmt.Printf("%s: %.2f ms (%.2f to %.2f)\n", row, each[len(each)/2], each[0], each[len(each)-1])
		}
	}
	return client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Delete(
		ctx, namespace, metav1.DeleteOptions{},
	)
}

func install(ctx context.Context, client dynamic.Interface, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	definition := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(text, &definition.Object); err != nil {
		return err
	}
	stored, err := client.Resource(definitions).Get(ctx, definition.GetName(), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("the definition must be installed: %w", err)
	}
	stored.Object["spec"] = definition.Object["spec"]
	if _, err := client.Resource(definitions).Update(ctx, stored, metav1.UpdateOptions{}); err != nil {
		return err
	}
	// The API server rebuilds its OpenAPI, which takes it seconds of processor time.
	time.Sleep(15 * time.Second)
	return nil
}

// statusUpdates is the processor time of one, in milliseconds, but for what the API server takes when nothing is asked.
func statusUpdates(
	ctx context.Context, client dynamic.Interface, metrics *kubernetes.Clientset, text []byte, length int,
) (float64, error) {
	task := &unstructured.Unstructured{}
	if err := task.UnmarshalJSON(text); err != nil {
		return 0, err
	}
	status := task.Object["status"].(map[string]any)
	status["history"] = status["history"].([]any)[:length]
	_, err := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Create(
		ctx, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace},
		}}, metav1.CreateOptions{},
	)
	if err != nil && !strings.Contains(err.Error(), "already exists") {
		return 0, err
	}
	in := client.Resource(tasks).Namespace(namespace)
	created, err := in.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": task.GetAPIVersion(), "kind": task.GetKind(), "spec": task.Object["spec"],
		"metadata": map[string]any{"generateName": "t-", "annotations": task.Object["metadata"].(map[string]any)["annotations"]},
	}}, metav1.CreateOptions{FieldManager: "kubectl-client-side-apply"})
	if err != nil {
		return 0, err
	}
	write := func(count int) error {
		for n := range count {
			status["duration"] = fmt.Sprintf("%ds", n)
			created.Object["status"] = status
			created, err = in.UpdateStatus(ctx, created, metav1.UpdateOptions{FieldManager: "retryable-tasks"})
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := write(warmUp); err != nil {
		return 0, err
	}
	began, before, err := processorSeconds(ctx, metrics)
	if err != nil {
		return 0, err
	}
	if err := write(updates); err != nil {
		return 0, err
	}
	ended, after, err := processorSeconds(ctx, metrics)
	if err != nil {
		return 0, err
	}
	time.Sleep(5 * time.Second)
	rested, idle, err := processorSeconds(ctx, metrics)
	if err != nil {
		return 0, err
	}
	atRest := (idle - after) / rested.Sub(ended).Seconds()
	busy := after - before - atRest*ended.Sub(began).Seconds()
	return busy * 1000 / updates, in.Delete(ctx, created.GetName(), metav1.DeleteOptions{})
}

func processorSeconds(ctx context.Context, client *kubernetes.Clientset) (time.Time, float64, error) {
	text, err := client.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return time.Time{}, 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "process_cpu_seconds_total "); found {
			seconds, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return time.Now(), seconds, err
		}
	}
	return time.Time{}, 0, fmt.Errorf("no process_cpu_seconds_total in /metrics")
}
