// Checks training.asl.json by the Amazon States Language: targets, unreachable states, fields, JSONata syntax.
// `node statemachine/validate.mjs` prints what is wrong; its exit code is 1 if anything is. The validator refuses
// definition substitutions in fields of other types, so each ${Name} is filled first: a function's with an ARN, all
// others, which are seconds and factors, with a number.
import { readFileSync } from "node:fs";
import validate from "asl-validator";

const text = readFileSync(new URL("training.asl.json", import.meta.url), "utf8");
const definition = JSON.parse(
  text
    .replaceAll("${Partition}", "aws")
    .replace(/"\$\{(\w+)\}"/g, '"arn:aws:lambda:us-east-1:123456789012:function:$1"')
    .replace(/\$\{\w+\}/g, "60"),
);
const { isValid, errorsText } = validate(definition);
if (!isValid) {
  console.error(errorsText("\n"));
  process.exit(1);
}
console.log(`training.asl.json: ${Object.keys(definition.States).length} states, nothing wrong.`);
