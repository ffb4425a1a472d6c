/* Between the server's life and its requests. */
#ifndef LEDGE_FLEET_REGISTRY_HTTP_H
#define LEDGE_FLEET_REGISTRY_HTTP_H

#include "fleet/registry/registry_state.h"

enum MHD_Result ledge__on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state);
void ledge__on_done(void *arg, struct MHD_Connection *connection, void **state,
                    enum MHD_RequestTerminationCode code);
void ledge__on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what);
/* client_certificate.c: fills the caller in from a certificate that the client showed and the
 * configured authority signed; its common name is the device's id. false: there is none. */
bool ledge__call_certificate(LedgeCall *c);

#endif
