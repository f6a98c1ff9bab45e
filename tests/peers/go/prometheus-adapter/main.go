// Prints the queries that prometheus-adapter, by its own packages, makes of a rule.
//
//	prometheus-adapter CONFIG_MAP NAMESPACE POD…
//
// CONFIG_MAP is a file with the adapter's ConfigMap; its one rule is asked for the metric of these pods, as an HPA has it asked
// for. The answer is {"discovery":…,"series":…,"metric":…,"query":…}: which series the adapter looks for, what it takes as the
// name of one, under which name it offers that to an HPA, and the query for its values.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/prometheus-adapter/pkg/client"
	"sigs.k8s.io/prometheus-adapter/pkg/config"
	"sigs.k8s.io/prometheus-adapter/pkg/naming"
	"sigs.k8s.io/yaml"
)

const series = "http_server_active_request_seconds_total"

func main() {
	if len(os.Args) < 4 {
		fail(fmt.Errorf("usage: prometheus-adapter CONFIG_MAP NAMESPACE POD…"))
	}
	answer, err := ask(os.Args[1], os.Args[2], os.Args[3:])
	if err != nil {
		fail(err)
	}
	json.NewEncoder(os.Stdout).Encode(answer)
}

func ask(file, namespace string, pods []string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var configMap corev1.ConfigMap
	if err := yaml.UnmarshalStrict(text, &configMap); err != nil {
		return nil, err
	}
	rules, err := config.FromYAML([]byte(configMap.Data["config.yaml"]))
	if err != nil {
		return nil, err
	}
	// The kinds that a cluster would tell the adapter of.
	kinds := meta.NewDefaultRESTMapper([]schema.GroupVersion{corev1.SchemeGroupVersion})
	kinds.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	kinds.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	namers, err := naming.NamersFromConfig(rules.Rules, kinds)
	if err != nil {
		return nil, err
	}
	if len(namers) != 1 {
		return nil, fmt.Errorf("%d rules instead of one", len(namers))
	}
	namer := namers[0]
	metric, err := namer.MetricNameForSeries(client.Series{Name: series})
	if err != nil {
		return nil, err
	}
	query, err := namer.QueryForSeries(series, schema.GroupResource{Resource: "pods"}, namespace, labels.Everything(), pods...)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"discovery": string(namer.Selector()),
		"series":    series,
		"metric":    metric,
		"query":     string(query),
	}, nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
