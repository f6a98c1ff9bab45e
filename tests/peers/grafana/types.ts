// What a dashboard here may say, of Grafana's own types: `check.mjs` holds each file against `Board`.
import type { Dashboard, DataQuery, FieldConfigSource, FieldConfig, Panel, RowPanel } from '@grafana/schema';
import type * as Heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as NodeGraph from '@grafana/schema/dist/esm/raw/composable/nodegraph/panelcfg/x/NodeGraphPanelCfg_types.gen';
import type * as Stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as StateTimeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as Table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as TimeSeries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** JSON has the values of string enums, not their names. */
type Plain<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;

/** Grafana fills in what a file leaves out. */
type Part<T> = T extends object ? { [K in keyof T]?: Part<T[K]> } : T;

/** Options, and what each field may have beside what all panels' fields have. */
interface Kinds {
  heatmap: [Heatmap.Options, never];
  nodeGraph: [NodeGraph.Options, never];
  stat: [Stat.Options, never];
  'state-timeline': [StateTimeline.Options, StateTimeline.FieldConfig];
  table: [Table.Options, Table.FieldConfig];
  timeseries: [TimeSeries.Options, TimeSeries.FieldConfig];
}

/** Grafana publishes no type of Prometheus' queries; these are the fields in use here. */
interface Query extends DataQuery {
  expr: string;
  legendFormat?: string;
  format?: 'time_series' | 'table' | 'heatmap';
  instant?: boolean;
  exemplar?: boolean;
}

type Loose = 'type' | 'options' | 'fieldConfig' | 'targets' | 'links' | 'id' | 'gridPos' | 'title' | 'description' | 'datasource';

type PanelOf<K extends keyof Kinds> = Omit<Panel, Loose> & Required<Pick<Panel, 'id' | 'gridPos' | 'title' | 'description' | 'datasource'>> & {
  type: K;
  options: Part<Kinds[K][0]>;
  fieldConfig: Omit<FieldConfigSource, 'defaults'> & { defaults: Omit<FieldConfig, 'custom'> & { custom?: Part<Kinds[K][1]> } };
  targets: Query[];
  links?: Partial<NonNullable<Panel['links']>[number]>[];
};

type AnyPanel = { [K in keyof Kinds]: PanelOf<K> }[keyof Kinds];

export type Board = Plain<Omit<Dashboard, 'panels'>> & { panels: Plain<AnyPanel | RowPanel>[] };
