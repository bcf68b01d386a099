// Checks the state machine's definition as templates deploy it by the Amazon States Language: targets, unreachable
// states, fields, JSONata syntax. `make check` runs it with all templates. It prints what is wrong, and its exit code is
// 1 if anything is. What CloudFormation substitutes is filled in first: text as it is, a reference with an ARN.
import { readFileSync } from "node:fs";
import validate from "asl-validator";

const ARN = "arn:aws:lambda:us-east-1:123456789012:function:Function";
const MACHINE = "AWS::StepFunctions::StateMachine";
const REFERENCES = { "AWS::Partition": "aws" };

function faults({ DefinitionString: text, DefinitionSubstitutions: values }) {
  const missing = new Set();
  const filled = text.replace(/\$\{(\w+)\}/g, (place, name) => {
    if (!(name in values)) missing.add(`nothing is substituted for ${place}`);
    const value = values[name];
    return typeof value === "string" ? value : (REFERENCES[value?.Ref] ?? ARN);
  });
  if (missing.size) return [...missing];
  const { isValid, errorsText } = validate(JSON.parse(filled));
  return isValid ? [] : [errorsText("\n")];
}

const templates = process.argv.slice(2);
let machines = 0;
let wrong = 0;
for (const template of templates) {
  const { Resources } = JSON.parse(readFileSync(template, "utf8"));
  for (const { Type, Properties } of Object.values(Resources)) {
    if (Type !== MACHINE) continue;
    machines += 1;
    for (const fault of faults(Properties)) {
      wrong += 1;
      console.error(`${template}: ${fault}`);
    }
  }
}
if (wrong || !machines || machines !== templates.length) {
  console.error(`${templates.length} template(s), ${machines} state machine(s), ${wrong} fault(s).`);
  process.exit(1);
}
console.log(`The state machine of ${machines} template(s): nothing wrong.`);
