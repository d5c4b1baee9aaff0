// Prints what is wrong with an AsyncAPI document: node check.mjs FILE
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const wrong = diagnostics.filter((d) => d.severity <= 1); // errors and warnings
for (const d of wrong) {
	console.log(`${d.range.start.line + 1}: ${d.path.join(".")}: ${d.message}`);
}
process.exit(wrong.length > 0 ? 1 : 0);
