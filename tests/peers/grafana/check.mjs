// Holds dashboards against Grafana's own types, with TypeScript's compiler: node check.mjs FILE.json…
// Prints each fault with its file and line; exits with 1 if there is one.
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const here = dirname(fileURLToPath(import.meta.url));
const options = {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  types: [],
};

// Each file as the text of a module beside `types.ts`, its JSON from the first line on, so that lines are its own.
const modules = new Map(
  process.argv.slice(2).map((file) => [
    join(here, `${basename(file)}.ts`),
    { file, text: `import type { Board } from './types'; export const board: Board = ${readFileSync(file, 'utf8')};` },
  ]),
);
if (modules.size === 0) {
  console.error('no file to check');
  process.exit(2);
}

const host = ts.createCompilerHost(options);
const { fileExists, readFile, getSourceFile } = host;
host.fileExists = (path) => modules.has(path) || fileExists(path);
host.readFile = (path) => modules.get(path)?.text ?? readFile(path);
host.getSourceFile = (path, version, ...rest) =>
  modules.has(path)
    ? ts.createSourceFile(path, modules.get(path).text, version)
    : getSourceFile(path, version, ...rest);

const program = ts.createProgram([...modules.keys()], options, host);
const faults = ts.getPreEmitDiagnostics(program);
for (const { file, start, messageText } of faults) {
  const at = file ? `${modules.get(file.fileName)?.file ?? file.fileName}:${file.getLineAndCharacterOfPosition(start).line + 1}: ` : '';
  console.error(at + ts.flattenDiagnosticMessageText(messageText, '\n'));
}
process.exit(faults.length === 0 ? 0 : 1);
