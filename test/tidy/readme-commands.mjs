/**
 * The commands that the README shows first: the shell lines of its fenced blocks, in order.
 *
 * Does: read README.md, print line N (1-based), or all. Does not: run them.
 *
 * Usage: node test/tidy/readme-commands.mjs [N]
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const README = new URL('../../README.md', import.meta.url);

/** Lines of all ```sh / ```bash / ```console blocks, without prompts, comments and empty lines. */
export function shellCommands(markdown) {
  const commands = [];
  let inside = false;
  for (const line of markdown.split('\n')) {
    if (/^```/.test(line)) {
      inside = !inside && /^```(sh|bash|console|shell)\s*$/.test(line);
      continue;
    }
    const command = line
      .replace(/^\$ /, '')
      .replace(/\s+#.*$/, '')
      .trim();
    if (inside && command !== '' && !command.startsWith('#')) commands.push(command);
  }
  return commands;
}

export function readmeCommands() {
  return shellCommands(readFileSync(README, 'utf8'));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const commands = readmeCommands();
  const wanted = process.argv[2];
  const lines =
    wanted === undefined ? commands : commands.slice(Number(wanted) - 1, Number(wanted));
  if (lines.length === 0) process.exit(1);
  console.log(lines.join('\n'));
}
