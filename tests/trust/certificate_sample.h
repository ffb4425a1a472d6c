/* A certificate that holds, for tests and as a fuzz seed's source. */
#ifndef LEDGE_TESTS_CERTIFICATE_SAMPLE_H
#define LEDGE_TESTS_CERTIFICATE_SAMPLE_H

#include "trust/certificate.h"

/* The JSON inside belongs to the caller: sample_certificate_free. */
LedgeCertificate sample_certificate(void);
void sample_certificate_free(LedgeCertificate *c);

#endif
