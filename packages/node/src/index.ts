/**
 * jsforce connections with a token that is always valid: one login however many ask, from the tieline broker where
 * there is one, by itself elsewhere.
 */
export { brokerFromEnvironment, type BrokerAddress } from './broker.js';
export type { CacheStats, ConnectionSettings, ManagerEvents } from './connections.js';
export { TielineError } from './errors.js';
export type { AppSettings, JwtSettings } from './login.js';
export { JWTConnectionManager, SalesforceConnectionManager, type JwtConfig, type SalesforceConfig } from './managers.js';
export { useDispatcher } from './thaw.js';
