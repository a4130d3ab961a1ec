// A real OpenID provider (the npm package oidc-provider) with accounts in memory: whoever signs in as NAME with any
// password is NAME, with the verified address NAME@example.com.
//
// Prints one line of JSON, {"issuer": …}, once it answers; it ends when its standard input does.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const modules = createRequire(path.join(fromEnvironment('TIELINE_TEST_OIDC_MODULES'), 'tieline.cjs'));
const { Provider } = await import(pathToFileURL(modules.resolve('oidc-provider')));
const algorithm = fromEnvironment('ALGORITHM');
const auth = fromEnvironment('CLIENT_AUTH');

const kinds = {
  RS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519', {}],
};
const key = generateKeyPairSync(...kinds[algorithm]).privateKey.export({ format: 'jwk' });

const server = createServer((request, response) => answer(request, response));
let answer;
await new Promise((listening) => { server.listen(0, '127.0.0.1', listening); });
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [{
    client_id: 'tieline',
    ...(auth === 'none' ? {} : { client_secret: fromEnvironment('CLIENT_SECRET') }),
    redirect_uris: [fromEnvironment('REDIRECT_URI')],
    token_endpoint_auth_method: auth,
    id_token_signed_response_alg: algorithm,
    grant_types: ['authorization_code'],
    response_types: ['code'],
  }],
  jwks: { keys: [{ ...key, use: 'sig', alg: algorithm, kid: 'one' }] },
  enabledJWA: { idTokenSigningAlgValues: [algorithm] },
  clientAuthMethods: [auth],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  // As it is by default: addresses are behind the userinfo endpoint.
  conformIdTokenClaims: process.env.CLAIMS_IN_TOKEN !== '1',
  pkce: { required: () => true },
  cookies: { keys: ['of a test'] },
  findAccount: (context, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: `The ${id}`, email: `${id}@example.com`, email_verified: true }),
  }),
});
answer = provider.callback();
console.log(JSON.stringify({ issuer }));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

function fromEnvironment(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}
