// Measures what a status update of a RetryableTask costs the API server, part by part, with the API server's own code,
// and what each constraint of the definition has in it:
//
//	go run . [--rounds 3] [--only "as it is"] [../../crds/retryabletasks.yaml]
//	go run . --rules [--rounds 3]
//	go run . --real [--rounds 3] BEFORE.yaml AFTER.yaml
//
// The figures are processor time, so a busy machine changes them little. Each is the least of several rounds. With --real
// it is the time of the API server of $KUBECONFIG under each of the definitions in turns, and each is the median.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// How many entries the history has after the update.
var lengths = []int{1, 3, 20}

func main() {
	rounds := flag.Int("rounds", 3, "how often each figure is measured")
	only := flag.String("only", "", "the changes with this in their name")
	task := flag.String("task", "task.json", "a task with a full history, as `kubectl get -o json --show-managed-fields` prints it")
	rules := flag.Bool("rules", false, "measure each rule by itself")
	onServer := flag.Bool("real", false, "measure a real API server")
	flag.Parse()
	if *onServer {
		text, err := os.ReadFile(*task)
		if err == nil {
			err = real(context.Background(), flag.Args(), text, *rounds)
		}
		exit(err)
		return
	}
	runtime.GOMAXPROCS(1)
	path := "../../crds/retryabletasks.yaml"
	if flag.NArg() > 0 {
		path = flag.Arg(0)
	}
	exit(run(path, *task, *only, *rules, *rounds))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path, taskPath, only string, rules bool, rounds int) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	task, err := os.ReadFile(taskPath)
	if err != nil {
		return err
	}
	read := func() (*apiextensionsv1.CustomResourceDefinition, error) {
		definition := &apiextensionsv1.CustomResourceDefinition{}
		return definition, yaml.Unmarshal(text, definition)
	}
	if rules {
		return eachRule(read, task, rounds)
	}
	fmt.Println("| ms of a status update, with 1 / 3 / 20 entries of history | decode | managed fields | schema | keys of lists | rules | sum |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, change := range changes() {
		if !strings.Contains(change.name, only) {
			continue
		}
		definition, err := read()
		if err != nil {
			return err
		}
		change.apply(definition.Spec.Versions[0].Schema.OpenAPIV3Schema)
		row, err := measure(definition, task, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", change.name, err)
		}
		fmt.Printf("| %s | %s |\n", change.name, strings.Join(row, " | "))
	}
	return nil
}

// measure gives the cells of a row.
func measure(definition *apiextensionsv1.CustomResourceDefinition, task []byte, rounds int) ([]string, error) {
	var columns [6][]string
	for _, length := range lengths {
		s, err := newServer(definition)
		if err != nil {
			return nil, err
		}
		stored, err := s.taskWith(task, length-1)
		if err != nil {
			return nil, err
		}
		updated, err := s.taskWith(task, length)
		if err != nil {
			return nil, err
		}
		sent, err := updated.MarshalJSON()
		if err != nil {
			return nil, err
		}
		// The first update settles who owns what.
		s.manageFields(stored, stored)
		sum := 0.0
		for column, part := range []func() error{
			func() error { _, err := s.decode(sent); return err },
			func() error { s.manageFields(updated.DeepCopy(), stored); return nil },
			func() error { return s.validateSchema(updated, stored) },
			func() error { return s.validateLists(updated) },
			func() error { return s.validateRules(updated, stored) },
		} {
			took, err := least(rounds, part)
			if err != nil {
				return nil, err
			}
			sum += took
			columns[column] = append(columns[column], fmt.Sprintf("%.2f", took))
		}
		columns[5] = append(columns[5], fmt.Sprintf("%.2f", sum))
	}
	cells := make([]string, 0, len(columns))
	for _, column := range columns {
		cells = append(cells, strings.Join(column, " / "))
	}
	return cells, nil
}

// taskWith is the task when it had so many entries of history.
func (s *server) taskWith(task []byte, entries int) (*unstructured.Unstructured, error) {
	object, err := s.decode(task)
	if err != nil {
		return nil, err
	}
	status := object.Object["status"].(map[string]any)
	history := status["history"].([]any)
	if len(history) < entries {
		return nil, fmt.Errorf("the task has %d entries of history, not %d", len(history), entries)
	}
	status["history"] = history[:entries]
	text, err := json.Marshal(object.Object)
	if err != nil {
		return nil, err
	}
	return s.decode(text)
}

// least is the least processor time of one call, in milliseconds.
func least(rounds int, part func() error) (float64, error) {
	const enough = 150 * time.Millisecond
	best := 0.0
	for round := range rounds {
		runtime.GC()
		calls, began := 0, processorTime()
		for processorTime()-began < enough {
			for range 10 {
				if err := part(); err != nil {
					return 0, err
				}
			}
			calls += 10
		}
		each := float64((processorTime() - began).Microseconds()) / float64(calls) / 1000
		if round == 0 || each < best {
			best = each
		}
	}
	return best, nil
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
