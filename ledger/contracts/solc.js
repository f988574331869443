#!/usr/bin/env node
// npm's solc behind the two options of the native compiler that forge and build.py use: `--version`, and
// `--standard-json` with sources that are not in the input taken from NODE_PATH (OpenZeppelin's).
const fs = require('fs');
const path = require('path');
const solc = require('solc');

function read(name) {
  try {
    return { contents: fs.readFileSync(path.join(process.env.NODE_PATH, name), 'utf8') };
  } catch (error) {
    return { error: error.message };
  }
}

if (process.argv.includes('--standard-json')) {
  process.stdout.write(solc.compile(fs.readFileSync(0, 'utf8'), { import: read }));
} else {
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
}
