/* Devices that show a client certificate in place of a token. */
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>

#include "fleet/registry/registry_http.h"

/* The common name of a DER certificate. */
static bool common_name(const gnutls_datum_t *der, char *out, size_t size)
{
    gnutls_x509_crt_t crt;
    if (gnutls_x509_crt_init(&crt) != GNUTLS_E_SUCCESS)
        return false;
    const bool ok = gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER) == GNUTLS_E_SUCCESS &&
                    gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, out,
                                                  &size) == GNUTLS_E_SUCCESS;
    gnutls_x509_crt_deinit(crt);
    return ok;
}

bool ledge__call_certificate(LedgeCall *c)
{
    unsigned flaws = 1, n = 0;
    if (!c->registry->options.client_ca)
        return false;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (!info || !info->tls_session)
        return false;
    gnutls_session_t session = (gnutls_session_t)info->tls_session;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &n);
    if (!chain || !n || gnutls_certificate_verify_peers2(session, &flaws) != GNUTLS_E_SUCCESS ||
        flaws)
        return false;
    char name[LEDGE_FLEET_DEVICE] = "";
    if (!common_name(&chain[0], name, sizeof name) || !ledge__fleet_is_device(name))
        return false;
    c->caller = (LedgeCaller){.role = LEDGE_ROLE_DEVICE};
    memcpy(c->caller.device, name, sizeof name);
    return true;
}
