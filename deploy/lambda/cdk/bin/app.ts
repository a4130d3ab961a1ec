/**
 * Stages dev and prod, a stack for each:
 *
 *   npx cdk deploy tieline-dev
 *   npx cdk deploy tieline-prod -c alarmEmail=ops@example.com
 *
 * `-c layer=FILE` and `-c code=FOLDER` name a layer and a bundle that are elsewhere. Nothing is looked up: the templates
 * are the same for every account and region.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { App } from 'aws-cdk-lib';

import { TielineStack } from '../lib/tieline-stack.js';

const app = new App();
const here = dirname(fileURLToPath(import.meta.url));

function given(name: string): string | undefined {
  const value: unknown = app.node.tryGetContext(name);
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function there(path: string, file: string, made: string): string {
  if (!existsSync(join(path, file))) throw new Error(`${join(path, file)} is not there: ${made}`);
  return path;
}

const layer = there(
  given('layer') ?? join(here, '../../../../target/dist/tieline-extension-arm64.zip'),
  '',
  'build it with `cargo xtask dist lambda` at the top of the repository, or name another one with -c layer=FILE',
);
const code = there(
  given('code') ?? join(here, '../../function/dist'),
  'handler.cjs',
  'build it with `npm install && npm run build` in ../function, or name another folder with -c code=FOLDER',
);
const common = { layer, code, alarmEmail: given('alarmEmail') };

new TielineStack(app, 'tieline-dev', {
  ...common,
  stage: 'dev',
  loginUrl: given('devLoginUrl') ?? 'https://test.salesforce.com',
  logRetentionDays: 14,
  latencyThreshold: 15_000,
});

new TielineStack(app, 'tieline-prod', {
  ...common,
  stage: 'prod',
  loginUrl: given('prodLoginUrl') ?? 'https://login.salesforce.com',
  logRetentionDays: 90,
  latencyThreshold: 10_000,
});
