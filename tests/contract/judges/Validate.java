import java.io.ByteArrayInputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertPath;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CRL;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Date;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Java's PKIX validator with revocation: FOLDER EPOCH_SECONDS, then "crl NAME" or "ocsp NAME" pairs; a line each. */
public final class Validate {
    private static Path folder;
    private static CertificateFactory factory;

    private static X509Certificate certificate(String name) throws Exception {
        byte[] der = Files.readAllBytes(folder.resolve(name + ".cer"));
        return (X509Certificate) factory.generateCertificate(new ByteArrayInputStream(der));
    }

    private static X509CRL list(String name) throws Exception {
        byte[] der = Files.readAllBytes(folder.resolve(name + ".crl"));
        return (X509CRL) factory.generateCRL(new ByteArrayInputStream(der));
    }

    private static String judge(String by, String name, Date at) throws Exception {
        X509Certificate leaf = certificate(name);
        CertPath path = factory.generateCertPath(List.of(leaf, certificate("ca")));
        CertPathValidator validator = CertPathValidator.getInstance("PKIX");
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(certificate("root"), null)));
        parameters.setDate(at);
        List<Object> known = new ArrayList<>();
        known.add(list("root"));
        PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
        if (by.equals("ocsp")) {
            byte[] answer = Files.readAllBytes(folder.resolve(name + ".ocsp"));
            checker.setOcspResponses(Map.of(leaf, answer));
            checker.setOcspResponder(new URI("http://127.0.0.1:9/"));
            checker.setOptions(EnumSet.of(
                PKIXRevocationChecker.Option.NO_FALLBACK, PKIXRevocationChecker.Option.ONLY_END_ENTITY));
        } else {
            known.add(list("ca"));
            checker.setOptions(EnumSet.of(
                PKIXRevocationChecker.Option.PREFER_CRLS, PKIXRevocationChecker.Option.NO_FALLBACK));
        }
        parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(known)));
        parameters.addCertPathChecker(checker);
        try {
            validator.validate(path, parameters);
            return "VALID";
        } catch (CertPathValidatorException refused) {
            return refused.getReason() + " " + refused.getMessage();
        }
    }

    public static void main(String[] arguments) throws Exception {
        folder = Path.of(arguments[0]);
        factory = CertificateFactory.getInstance("X.509");
        Date at = new Date(Long.parseLong(arguments[1]) * 1000);
        for (int next = 2; next < arguments.length; next += 2) {
            String by = arguments[next];
            String name = arguments[next + 1];
            System.out.println(by + " " + name + " " + judge(by, name, at));
        }
    }
}
