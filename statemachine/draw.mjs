// Draws training.asl.yaml: the picture training.svg and the table of states in README.md, both from the ASL alone.
// `node statemachine/draw.mjs` writes them; with `--check` it fails when they are not what the ASL says.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { Graphviz } from "@hpcc-js/wasm-graphviz";

const file = (name) => new URL(name, import.meta.url);
const read = ["-m", "stacks.definition"];
const machine = JSON.parse(execFileSync(".venv/bin/python", read, { cwd: file(".."), encoding: "utf8" }));
const states = Object.entries(machine.States);

const LOOKS = {
  Task: 'shape=box style="filled,rounded" fillcolor="#dbeafe" color="#2563eb"',
  Callback: 'shape=box style="filled,rounded" fillcolor="#ede9fe" color="#7c3aed" penwidth=2',
  Wait: 'shape=box style="filled,rounded" fillcolor="#fef9c3" color="#ca8a04"',
  Choice: 'shape=hexagon margin="0,0.03" style=filled fillcolor="#f1f5f9" color="#475569"',
  Succeed: 'shape=box style="filled,rounded" fillcolor="#dcfce7" color="#16a34a" penwidth=2',
  Fail: 'shape=box style="filled,rounded" fillcolor="#fee2e2" color="#dc2626" penwidth=2',
};

const kindOf = (state) => (state.Resource?.endsWith(".waitForTaskToken") ? "Callback" : state.Type);
const words = (expression) => expression.replace(/^\{% | %\}$/g, "");
const quoted = (text) => `"${text.replaceAll('"', '\\"')}"`;

function exits(state) {
  if (state.Type !== "Choice") return state.Next ? [{ to: state.Next }] : [];
  return [
    ...state.Choices.map((rule) => ({ to: rule.Next, why: words(rule.Condition) })),
    { to: state.Default, why: "otherwise" },
  ];
}

function dot() {
  const order = new Map(states.map(([name], place) => [name, place]));
  const lines = states.flatMap(([name, state]) => [
    `${quoted(name)} [${LOOKS[kindOf(state)]}];`,
    ...exits(state).map(({ to, why }) => {
      const back = order.get(to) < order.get(name) ? "constraint=false" : "";
      return `${quoted(name)} -> ${quoted(to)} [label=${quoted(why ? `   ${why}` : "")} ${back}];`;
    }),
  ]);
  return `digraph {
    graph [rankdir=TB ranksep=0.28 nodesep=0.45 bgcolor=white pad=0.2 fontname=Helvetica];
    node [fontname=Helvetica fontsize=13 height=0.42 margin="0.18,0.05"];
    edge [fontname=Helvetica fontsize=10 color="#64748b" fontcolor="#475569" arrowsize=0.7];
    start [label="" shape=circle style=filled fillcolor="#0f172a" width=0.18 fixedsize=true height=0.18];
    start -> ${quoted(machine.StartAt)};
    ${lines.join("\n")}
  }`;
}

function table() {
  const rows = states.map(([name, state]) => {
    const leads = exits(state).map(({ to, why }) => (why ? `${to} (${why === "otherwise" ? why : `\`${why}\``})` : to));
    const named = (state.Retry ?? []).flatMap((retry) => retry.ErrorEquals).filter((error) => !/[.]/.test(error));
    return `| ${name} | ${kindOf(state)} | ${state.Comment} | ${leads.join("; ") || "—"} | ${named.join(", ") || "—"} |`;
  });
  return ["| State | Kind | What it does | Leads to | Retried by name |", "|---|---|---|---|---|", ...rows].join("\n");
}

const graphviz = await Graphviz.load();
const svg = graphviz.dot(dot()).replace(/<!--[^]*?-->\n?/g, "");
const readme = readFileSync(file("README.md"), "utf8");
const drawn = readme.replace(/(<!-- states -->\n)[^]*(<!-- \/states -->)/, (_, from, to) => `${from}${table()}\n${to}`);

if (process.argv.includes("--check")) {
  if (readFileSync(file("training.svg"), "utf8") !== svg || readme !== drawn) {
    console.error("statemachine/training.svg or README.md is not what training.asl.yaml says: run `make draw`.");
    process.exit(1);
  }
} else {
  writeFileSync(file("training.svg"), svg);
  writeFileSync(file("README.md"), drawn);
}
