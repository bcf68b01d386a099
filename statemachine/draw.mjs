// Draws the picture training.svg from training.asl.yaml.
// `make draw` writes the picture. With `--check`, the program fails if the picture is out of date.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { Graphviz } from "@hpcc-js/wasm-graphviz";

const file = (name) => new URL(name, import.meta.url);
const read = ["-m", "stacks.definition"];
const machine = JSON.parse(execFileSync(".venv/bin/python", read, { cwd: file(".."), encoding: "utf8" }));
const states = Object.entries(machine.States);

const OTHERWISE = "otherwise";
const STYLES = {
  Task: 'shape=box style="filled,rounded" fillcolor="#dbeafe" color="#2563eb"',
  Callback: 'shape=box style="filled,rounded" fillcolor="#ede9fe" color="#7c3aed" penwidth=2',
  Map: 'shape=box3d style=filled fillcolor="#dbeafe" color="#2563eb"',
  Wait: 'shape=box style="filled,rounded" fillcolor="#fef9c3" color="#ca8a04"',
  Choice: 'shape=hexagon margin="0,0.03" style=filled fillcolor="#f1f5f9" color="#475569"',
  Succeed: 'shape=box style="filled,rounded" fillcolor="#dcfce7" color="#16a34a" penwidth=2',
  Fail: 'shape=box style="filled,rounded" fillcolor="#fee2e2" color="#dc2626" penwidth=2',
};

const kindOf = (state) => (state.Resource?.endsWith(".waitForTaskToken") ? "Callback" : state.Type);
const quoted = (text) => `"${text.replaceAll('"', '\\"')}"`;
const edge = (from, to, attributes = "") => `${quoted(from)} -> ${quoted(to)} [${attributes}];`;
const beside = (left, right, attributes) => `{ rank=same; ${edge(left, right, attributes)} }`;
const label = (words) => `label=${quoted(`\u00a0\u00a0${words}\u00a0`)}`;

// Returns the transitions of a state. For a Choice, `why` is the comment of the rule.
function exits(state) {
  if (state.Type !== "Choice") return state.Next ? [{ to: state.Next }] : [];
  const rules = state.Choices.map((rule) => ({ to: rule.Next, why: rule.Comment }));
  return [...rules, { to: state.Default, why: OTHERWISE }];
}

// Returns the states of the picture's main column: the path that takes each state's last transition to a new state that
// is no Fail state, without the Wait states. All other states are drawn beside the column.
function column() {
  const path = [machine.StartAt];
  for (;;) {
    const state = machine.States[path.at(-1)];
    const next = exits(state).filter(({ to }) => !path.includes(to) && machine.States[to].Type !== "Fail");
    if (!next.length) return path.filter((name) => machine.States[name].Type !== "Wait");
    path.push(next.at(-1).to);
  }
}

function dot() {
  const { StartAt, States } = machine;
  const main = column();
  const below = new Map(main.map((name, place) => [name, main[place + 1]]));
  const lines = states.flatMap(([name, state]) => [
    `${quoted(name)} [${STYLES[kindOf(state)]}${below.has(name) ? " group=column" : ""}];`,
    ...exits(state)
      .filter(({ why }) => name !== StartAt || why === OTHERWISE)
      .map(({ to, why }) => {
        if (state.Type === "Wait") return beside(to, name, "dir=back");
        const place = to === below.get(name) ? "weight=1000" : below.has(to) ? "constraint=false" : "";
        return edge(name, to, `${why ? label(why) : ""} ${place}`);
      }),
  ]);
  // A state whose next state is a Wait state has no edge to the state below it: an invisible edge keeps the column.
  for (const [name, next] of below) {
    const isLinked = exits(States[name]).some(({ to }) => to === next);
    if (next && !isLinked) lines.push(edge(name, next, "style=invis weight=1000"));
  }
  // The path of a later execution: a lane on the left, with an entry to the column for each rule of the first Choice.
  const entries = States[StartAt].Choices.toSorted((a, b) => main.indexOf(a.Next) - main.indexOf(b.Next));
  lines.push('lane [shape=none label="" width=0 height=0 group=lane];');
  lines.push(beside("lane", StartAt, `arrowhead=none style=dashed ${label("a later execution")}`));
  entries.reduce((above, { Next, Comment }) => {
    lines.push(`${quoted(Comment)} [shape=none fontsize=11 fontcolor="#475569" group=lane];`);
    lines.push(edge(above, Comment, "arrowhead=none style=dashed weight=1000"), beside(Comment, Next, "style=dashed"));
    return Comment;
  }, "lane");
  return `digraph {
    graph [ranksep=0.2 nodesep=0.4 bgcolor=white pad=0.2];
    node [fontname=Helvetica fontsize=13 height=0.34 margin="0.14,0.03"];
    edge [fontname=Helvetica fontsize=11 color="#64748b" fontcolor="#475569" arrowsize=0.7];
    start [label="" shape=circle style=filled fillcolor="#0f172a" width=0.18 fixedsize=true height=0.18 group=column];
    start -> ${quoted(StartAt)};
    ${lines.join("\n")}
  }`;
}

const graphviz = await Graphviz.load();
const svg = graphviz.dot(dot()).replace(/<!--[^]*?-->\n?/g, "");

if (process.argv.includes("--check")) {
  if (readFileSync(file("training.svg"), "utf8") !== svg) {
    console.error("statemachine/training.svg is out of date. Run `make draw`.");
    process.exit(1);
  }
} else {
  writeFileSync(file("training.svg"), svg);
}
