// Asks a metrics API as KEDA does, with KEDA's own scaler: `tests/peers/install` puts its sources beside this file.
//
//	keda SCALED_OBJECT URL   prints {"value":…,"active":…}, or why KEDA gets no value and exits with 1
//
// The trigger of type metrics-api is the file's own, but for its url.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
	"sigs.k8s.io/yaml"
)

const timeout = 10 * time.Second

// What KEDA's scalers share, and stands beside another of them.
const externalMetricType = "External"

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: keda SCALED_OBJECT URL"))
	}
	trigger, err := trigger(os.Args[1])
	if err != nil {
		fail(err)
	}
	trigger.Metadata["url"] = os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	scaler, err := NewMetricsAPIScaler(&scalersconfig.ScalerConfig{
		TriggerType:       trigger.Type,
		TriggerMetadata:   trigger.Metadata,
		MetricType:        trigger.MetricType,
		GlobalHTTPTimeout: timeout,
	}, nil)
	if err != nil {
		fail(err)
	}
	defer scaler.Close(ctx)
	// Its name and target are what the HPA is made of.
	spec := scaler.GetMetricSpecForScaling(ctx)[0].External
	values, active, err := scaler.GetMetricsAndActivity(ctx, spec.Metric.Name)
	if err != nil {
		fail(err)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"value":  values[0].Value.AsApproximateFloat64(),
		"active": active,
		"target": spec.Target.AverageValue.AsApproximateFloat64(),
	})
}

func trigger(file string) (*v1alpha1.ScaleTriggers, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var object v1alpha1.ScaledObject
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		return nil, err
	}
	for _, trigger := range object.Spec.Triggers {
		if trigger.Type == "metrics-api" {
			return &trigger, nil
		}
	}
	return nil, fmt.Errorf("%s has no trigger of type metrics-api", file)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
